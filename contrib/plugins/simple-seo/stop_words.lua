--[[ English stop words: grammar first, then common words of documentation. ]]
local text = [[
a about above across actually after again against all almost also although always am among an and another any anybody anyone
anything are aren't around as at back be became because become becomes been before behind being below best better between both
but by can can't cannot certain certainly clear clearly come comes could couldn't did didn't do does doesn't doing don't done
down during each either else enough etc even ever every everyone everything everywhere exactly except far few first for found
from full fully further gave general generally get gets getting give given gives go goes going gone good got great had hadn't
has hasn't have haven't having he he's her here here's hers herself him himself his how how's however i i'd i'll i'm i've if in
indeed instead into is isn't it it's its itself just keep kept kind know known knows large largely last later least less let
let's like likely little long longer made mainly make makes making many may maybe me means might mine more moreover most mostly
much must mustn't my myself namely near nearly necessary need needed needs neither never nevertheless new next no nobody none
nor not nothing now nowhere of off often ok on once one ones only onto or other others otherwise our ours ourselves out over
overall own part per perhaps please possible possibly probably quite rather really right said same say says second see seem
seems seen self several shall shan't she she'd she'll she's should shouldn't simply since so some somebody someone something
sometimes somewhat somewhere soon still such sure take taken takes taking than that that's the their theirs them themselves
then there there's therefore these they they'd they'll they're they've thing things think this those though three through
throughout thus to together too toward towards try trying turn two under unless unlike until up upon us use used useful user
uses using usually various very via want wants was wasn't way ways we we'd we'll we're we've well went were weren't what
what's whatever when when's whenever where where's whereas wherever whether which whichever while who who's whoever whole whom
whose why why's will with within without won't would wouldn't yes yet you you'd you'll you're you've your yours yourself
yourselves zero
add added adds additional allow allowed allows already applies apply available based basic call called calls case cases change
changed changes choose common commonly complete consider contain contained containing contains correct correctly create created
creates creating current currently default define defined defines depending describe described describes desired detail details
determine different directly easily easy effect end ensure entire equal equivalent example examples existing expected explicit
explicitly feature features follow followed following follows found include included includes including individual initial
item items left look looks lot main manner method methods multiple name named names normal normally note notes number numbers
optional optionally options order particular perform place point prefer prevent previous previously proper properly provide
provided provides purpose put recommend recommended refer reference related remain remains remove removed require required
requires respectively result results return returned returns returning run running runs section set sets setting short show
shown shows similar simple single special specific specified specify specifies start starting starts step steps support
supported supports task tip true false null usage value values version view warning whose work works write writing written
click learn read more today time times day days year years people site http https www com org html
]]

local stop_words = {}
for word in text:gmatch("%S+") do stop_words[word] = true end
return stop_words
