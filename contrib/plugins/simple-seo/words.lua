--[[ Words, sentences, reading ease and keywords of a text. ]]
local find, gmatch, gsub, lower, match, sub = string.find, string.gmatch, string.gsub, string.lower, string.match, string.sub
local stop_words = require "stop_words"

local words = {}

--- Lower case for ASCII and Latin-1 (Ä becomes ä); other letters do not change.
function words.lower(text)
  text = lower(text)
  if not find(text, "\195", 1, true) then return text end
  return (gsub(text, "\195([\128-\150\152-\158])", function(byte) return "\195" .. string.char(byte:byte() + 32) end))
end

--- Replaces typographic characters: ’ by ', dashes and quotation marks by spaces, … by a full stop.
local function simple(text)
  if not find(text, "[\194\226]") then return text end
  text = gsub(gsub(text, "\226\128\153", "'"), "\226\128\166", ".")
  return (gsub(gsub(text, "\226\128[\147-\165]", " "), "\194[\160\171\187]", " "))
end

--- Letters and digits, also beyond ASCII, with ' and - within.
local WORD = "[%w\128-\255][%w\128-\255'%-]*"

--- A list of the words of a text, in lower case.
function words.list(text)
  local list, n = {}, 0
  for word in gmatch(words.lower(simple(text)), WORD) do
    n = n + 1
    list[n] = word
  end
  return list
end

--- The number of words of a text.
function words.count(text) return select(2, gsub(text, WORD, "")) end

--- The number of words of each sentence. A sentence ends with . ! or ? before a space or the end of the text.
function words.sentences(text)
  local list = {}
  text = simple(text)
  for sentence in gmatch(text .. " ", "(.-)[.!?]+[\"')%]]*%s") do
    local count = words.count(sentence)
    if count > 0 then list[#list + 1] = count end
  end
  local rest = match(text, "([^.!?]*)$")
  local count = rest and words.count(rest) or 0
  if count > 0 then list[#list + 1] = count end
  return list
end

--- The number of syllables of an English word, estimated by its groups of vowels.
local function syllables(word)
  if #word <= 3 then return 1 end
  local stem = gsub(word, "e$", "")
  local _, count = gsub(stem, "[aeiouy]+", "")
  if match(word, "[^aeiouy]le$") then count = count + 1 end
  return count > 0 and count or 1
end

--- Flesch reading ease of English words, 0 (hard) to 100 (easy).
function words.reading_ease(list, sentences)
  if #list == 0 or sentences == 0 then return 100 end
  local known, total = {}, 0
  for _, word in ipairs(list) do
    local count = known[word]
    if not count then
      count = syllables(word)
      known[word] = count
    end
    total = total + count
  end
  local ease = 206.835 - 1.015 * (#list / sentences) - 84.6 * (total / #list)
  return math.max(0, math.min(100, math.floor(ease + 0.5)))
end

--- One form for "template", "templates" and "template's".
function words.stem(word)
  word = gsub(word, "'s$", "")
  if #word < 5 or find(word, "[^a-z%-]") then return word end
  if find(word, "ies$") then return sub(word, 1, -4) .. "y" end
  if find(word, "[sxz]es$") or find(word, "[cs]hes$") then return sub(word, 1, -3) end
  if find(word, "[^suia]s$") then return sub(word, 1, -2) end
  return word
end

--- The stems of a text with a space at both ends, as in " page bundle ", for plain searches of whole words.
function words.stems(text)
  local list = words.list(text)
  for i, word in ipairs(list) do list[i] = words.stem(word) end
  return " " .. table.concat(list, " ") .. " "
end

-- Keywords ------------------------------------------------------------------------------------------------------------

local function significant(word)
  return #word > 2 and not stop_words[word] and find(word, "[%a\128-\255]") and not find(word, "^%d")
end

local Ranking = {}
Ranking.__index = Ranking

--- Adds the words of a text, and phrases of two and three words without a stop word.
function Ranking:add(text, weight)
  for sentence in gmatch(text .. ".", "([^.!?,;:()\"]+)") do
    local before, last = nil, nil
    for _, word in ipairs(words.list(sentence)) do
      word = gsub(word, "'s$", "")
      if significant(word) then
        local stem = words.stem(word)
        self:count(stem, word, weight)
        if last and last.stem ~= stem then
          local stems, text = last.stem .. " " .. stem, last.word .. " " .. word
          self:count(stems, text, weight)
          if before then self:count(before.stem .. " " .. stems, before.word .. " " .. text, weight) end
        end
        before, last = last, { stem = stem, word = word }
      else
        before, last = nil, nil
      end
    end
  end
end

function Ranking:count(stem, word, weight)
  local entry = self.entries[stem]
  if not entry then
    entry = { stem = stem, count = 0, weight = 0, forms = {}, words = select(2, gsub(stem, " ", "")) + 1 }
    self.entries[stem] = entry
  end
  entry.count = entry.count + 1
  entry.weight = entry.weight + weight
  entry.forms[word] = (entry.forms[word] or 0) + 1
end

--- The most frequent form; of equally frequent ones, the first in the alphabet.
local function commonest(forms)
  local best, most
  for form, count in pairs(forms) do
    if not best or count > most or count == most and form < best then best, most = form, count end
  end
  return best
end

--- A phrase scores higher than its words, because it is more specific; one that occurs once scores 0.
local function score(entry)
  if entry.words > 1 and entry.count < 2 then return 0 end
  return math.sqrt(entry.weight) * (1 + 0.6 * (entry.words - 1)) * math.log(1 + entry.count)
end

--- Whether the entry is part of a chosen one, or a rare extension of one.
local function is_part(entry, chosen)
  local this = " " .. entry.stem .. " "
  for _, other in ipairs(chosen) do
    local that = " " .. other.stem .. " "
    if find(that, this, 1, true) and entry.count <= other.count * 1.5 then return true end
    if find(this, that, 1, true) and entry.count * 3 < other.count then return true end
  end
  return false
end

--- The best `limit` keywords of weighted texts `{{text, weight}, …}`, as `{keyword, count, score}`, best first.
function words.keywords(texts, limit)
  local ranking = setmetatable({ entries = {} }, Ranking)
  for _, part in ipairs(texts) do ranking:add(part[1], part[2]) end
  local entries = {}
  for _, entry in pairs(ranking.entries) do
    entry.score = score(entry)
    if entry.score > 0 then entries[#entries + 1] = entry end
  end
  table.sort(entries, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.stem < b.stem
  end)
  local chosen, result = {}, json.array()
  for _, entry in ipairs(entries) do
    if #result >= limit then break end
    if not is_part(entry, chosen) then
      chosen[#chosen + 1] = entry
      local rounded = math.floor(entry.score * 10 + 0.5) / 10
      result[#result + 1] = { keyword = commonest(entry.forms), count = entry.count, score = rounded }
    end
  end
  return result
end

return words
