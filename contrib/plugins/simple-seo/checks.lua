--[[ The checks of a page. Each calls `report(code, severity, field, message, hint, line)` for its issues.

    error -20    search results cannot show the page well      warning -8    it costs readers      notice -3    polish

A page has title, description, path, keywords (a list), body, page (markdown.read), words (of the prose), sentences, first
(the first paragraph) and stems (of title, description, first paragraph, body). ]]
local words = require "words"
local format = string.format

local checks = {}

checks.PENALTY = { error = 20, warning = 8, notice = 3 }

local function plural(count, noun) return format("%d %s%s", count, noun, count == 1 and "" or "s") end

--- A text in quotation marks, cut to 48 characters.
local function quoted(text)
  if utf8.len(text) and utf8.len(text) > 50 then text = text:sub(1, utf8.offset(text, 48) - 1) .. "…" end
  return "“" .. text .. "”"
end

--- "line 3, 7 and 12", of at most five.
local function lines(list)
  local numbers = {}
  for i, entry in ipairs(list) do
    if i > 5 then break end
    numbers[i] = tostring(entry.line)
  end
  local last = table.remove(numbers)
  local text = #numbers > 0 and table.concat(numbers, ", ") .. " and " .. last or last
  return (#list > 1 and "lines " or "line ") .. text .. (#list > 5 and " and more" or "")
end

--- A word that is doubled, as in "the the".
local function doubled(text)
  local before
  for word in words.lower(text):gmatch("%S+") do
    if word == before and word:find("^[%a\128-\255]+$") then return word end
    before = word
  end
end

function checks.title(page, settings, report)
  local title = page.title
  local length = utf8.len(title) or #title
  if title == "" then
    return report("title-missing", "error", "title", "The page has no title.",
      format("Describe the page in %d to %d characters.", settings.title_min, settings.title_max))
  end
  if length < settings.title_min then
    report("title-short", "warning", "title", format("The title has %s.", plural(length, "character")),
      format("Use at least %d to distinguish this page from others.", settings.title_min))
  elseif length > settings.title_max then
    report("title-long", "warning", "title",
      format("The title has %d characters; search results cut it at about %d.", length, settings.title_max),
      "Put the important words first, and leave out the name of the site.")
  end
  if #title > 8 and title == title:upper() and title:find("%u") then
    report("title-capitals", "notice", "title", "The title is all in capitals.", "Write it as a sentence.")
  end
  local seen = {}
  for _, word in ipairs(words.list(title)) do
    local stem = words.stem(word)
    if seen[stem] and #word > 3 then
      report("title-repeats", "notice", "title",
        format("The title contains %s twice.", quoted(word)), "Once is enough for readers and for ranking.")
      break
    end
    seen[stem] = true
  end
end

function checks.description(page, settings, report)
  local text = page.description
  local length = utf8.len(text) or #text
  if text == "" then
    return report("description-missing", "error", "description",
      "The page has no description.",
      format("Write one or two sentences of %d to %d characters; search results show them under the title.",
        settings.description_min, settings.description_max))
  end
  if length < settings.description_min then
    report("description-short", "warning", "description",
      format("The description has %s.", plural(length, "character")),
      format("Use %d to %d to fill its place in a search result.", settings.description_min, settings.description_max))
  elseif length > settings.description_max then
    report("description-long", "warning", "description",
      format("The description has %d characters; search results cut it at about %d.", length, settings.description_max),
      "Keep the first sentence and move the rest to the page.")
  end
  if words.lower(text) == words.lower(page.title) then
    report("description-is-title", "warning", "description",
      "The description repeats the title.", "Describe what the reader gets from the page.")
  end
  local word = doubled(text)
  if word then
    report("description-doubled", "notice", "description",
      format("“%s %s” in the description.", word, word), "Remove one of them.")
  end
end

function checks.headings(page, settings, report)
  local headings = page.page.headings
  local skipped, empty, top, seen, doubles = {}, {}, {}, {}, {}
  local level = 1
  for i, heading in ipairs(headings) do
    if heading.text == "" then empty[#empty + 1] = heading end
    if heading.level == 1 then top[#top + 1] = heading end
    if heading.level > level + 1 and i > 1 then skipped[#skipped + 1] = heading end
    local key = heading.level .. words.lower(heading.text)
    if seen[key] and heading.level <= 2 and heading.text ~= "" then doubles[#doubles + 1] = heading end
    seen[key], level = true, heading.level
  end
  if #empty > 0 then
    report("heading-empty", "warning", "body",
      format("A heading without text (%s).", lines(empty)), "Name the section, or remove the heading.",
      empty[1].line)
  end
  if #top > 1 or #top == 1 and page.title ~= "" then
    report("heading-first-level", "notice", "body",
      format("%s of the first level in the body (%s).", plural(#top, "heading"), lines(top)),
      "Only the title has the first level; start sections with ##.", top[1].line)
  end
  if #skipped > 0 then
    report("heading-order", "warning", "body",
      format("%s skips a level (%s).", quoted(skipped[1].text), lines(skipped)),
      "Go down one level at a time: readers and screen readers follow the outline.", skipped[1].line)
  end
  if #doubles > 0 then
    report("heading-twice", "notice", "body",
      format("The heading %s occurs more than once (%s).", quoted(doubles[1].text), lines(doubles)),
      "Use different headings, so that a table of contents has different entries.", doubles[1].line)
  end
  if #headings == 0 and #page.words > settings.section_words_max then
    report("heading-missing", "warning", "body",
      format("%d words without a heading.", #page.words), "Add headings, so that a reader finds the relevant part.")
  end
end

local VAGUE = {}
for text in ("here,click here,this,link,this link,this page,more,read more"):gmatch("[^,]+") do VAGUE[text] = true end

function checks.links_and_images(page, _, report)
  local without_alt, no_text, no_target, vague = {}, {}, {}, {}
  for _, image in ipairs(page.page.images) do
    if image.alt == "" then without_alt[#without_alt + 1] = image end
  end
  for _, link in ipairs(page.page.links) do
    if link.text == "" then no_text[#no_text + 1] = link end
    if link.target == "" or link.target == "#" then no_target[#no_target + 1] = link end
    if VAGUE[words.lower(link.text)] then vague[#vague + 1] = link end
  end
  if #without_alt > 0 then
    report("image-alt-missing", "warning", "body",
      format("%s without a text (%s).", plural(#without_alt, "image"), lines(without_alt)),
      "Describe the picture in ![…]; screen readers and search engines use the text.", without_alt[1].line)
  end
  if #no_text > 0 then
    report("link-text-missing", "warning", "body",
      format("%s without a text (%s).", plural(#no_text, "link"), lines(no_text)), "Name the target of the link.",
      no_text[1].line)
  end
  if #no_target > 0 then
    report("link-target-missing", "warning", "body",
      format("The link %s leads nowhere (%s).", quoted(no_target[1].text), lines(no_target)),
      "Add an address, or make it plain text.", no_target[1].line)
  end
  if #vague > 0 then
    report("link-text-vague", "notice", "body",
      format("A link says only %s (%s).", quoted(vague[1].text), lines(vague)), "Name the page it leads to.",
      vague[1].line)
  end
end

function checks.body(page, settings, report)
  local count = #page.words
  if count == 0 then
    return report("body-missing", "warning", "body",
      "The page has no text.", "Add at least a sentence, even to a page that only lists others.")
  end
  if count < settings.body_words_min then
    report("body-short", "notice", "body",
      format("The page has %s.", plural(count, "word")),
      format("A page below %d words seldom answers a question; extend it, or merge it with another.", settings.body_words_min))
  end
  local long, doubles = {}, {}
  for _, paragraph in ipairs(page.page.paragraphs) do
    local most = settings.paragraph_words_max
    if #paragraph.text > most * 4 and words.count(paragraph.text) > most then long[#long + 1] = paragraph end
    local word = doubled(paragraph.text)
    if word then doubles[#doubles + 1] = { line = paragraph.line, word = word } end
  end
  if #long > 0 then
    report("paragraph-long", "notice", "body",
      format("%s of more than %d words (%s).", plural(#long, "paragraph"), settings.paragraph_words_max, lines(long)),
      "Split it where a new thought starts.", long[1].line)
  end
  if #doubles > 0 then
    report("word-doubled", "notice", "body",
      format("“%s %s” (%s).", doubles[1].word, doubles[1].word, lines(doubles)), "Remove one of them.",
      doubles[1].line)
  end
end

function checks.readability(page, settings, report)
  if #page.words < 100 then return end
  if page.sentence_words > settings.sentence_words_max then
    report("sentences-long", "notice", "body", format("A sentence has %.0f words on average.", page.sentence_words),
      format("Shorten sentences to below %d words.", settings.sentence_words_max))
  end
  if page.reading_ease and page.reading_ease < settings.reading_ease_min then
    report("hard-to-read", "notice", "body",
      format("The reading ease is %d of 100.", page.reading_ease), "Use shorter words and sentences.")
  end
end

--- Whether a text, given as stems, contains all words of a keyword, in any order.
local function mentions(stems, keyword)
  for stem in keyword:gmatch("%S+") do
    if not stems:find(" " .. stem .. " ", 1, true) then return false end
  end
  return true
end

function checks.keywords(page, settings, report)
  local list = page.keywords
  if #list == 0 then return end
  if #list > settings.keywords_max then
    report("keywords-many", "notice", "keywords",
      format("%d keywords.", #list), format("Keep the %d that matter most.", settings.keywords_max))
  end
  local seen, absent = {}, {}
  for _, keyword in ipairs(list) do
    local stem = words.stems(keyword):sub(2, -2)
    if seen[stem] then
      report("keyword-twice", "notice", "keywords",
        format("The keyword %s is listed twice.", quoted(keyword)), "Remove one.")
    end
    seen[stem] = true
    if not mentions(page.stems.all, stem) then absent[#absent + 1] = quoted(keyword) end
    local count = select(2, page.stems.body:gsub("%f[%S]" .. stem:gsub("%p", "%%%0") .. "%f[%s]", ""))
    if #page.words >= 100 and count / #page.words > settings.keyword_density_max then
      report("keyword-stuffed", "warning", "keywords",
        format("%s makes up %.0f%% of the text.", quoted(keyword), 100 * count / #page.words),
        "Write for readers: use synonyms or pronouns.")
    end
  end
  if #absent > 0 then
    report("keyword-unused", "warning", "keywords",
      format("The page does not use %s.", table.concat(absent, ", ", 1, math.min(#absent, 3))),
      "Use the word on the page, or remove the keyword.")
  end
  local focus = words.stems(list[1]):sub(2, -2)
  local early = page.stems.title .. page.stems.description .. page.stems.first
  if mentions(page.stems.all, focus) and not mentions(early, focus) then
    report("keyword-late", "notice", "title",
      format("%s is in neither title, description nor first paragraph.", quoted(list[1])),
      "Use it there, where a reader looks for the word that was searched.")
  end
end

function checks.path(page, _, report)
  local path = page.path
  if path == "" then return end
  if path:find("[%u]") or path:find("[%s]") then
    report("path-letters", "notice", "path",
      format("The path %s has capitals or spaces.", quoted(path)),
      "Use lower-case letters and hyphens.")
  end
  if #path > 75 then
    report("path-long", "notice", "path",
      format("The path has %d characters.", #path), "Leave out what the folders above already contain.")
  end
end

checks.ALL = {
  checks.title, checks.description, checks.body, checks.headings, checks.links_and_images, checks.readability, checks.keywords,
  checks.path,
}

return checks
