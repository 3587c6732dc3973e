--[[ simple-seo: suggestions for an editor, and the keywords of a page.

    validate   {"score": 0..100, "issues": [{"code","severity","field","message","hint","line"?}], "stats": {…}}
    keywords   {"keywords": [{"keyword","count","score"}], "declared": […], "words": n}
]]
local reed = require "reed"
local checks = require "checks"
local markdown = require "markdown"
local words = require "words"

local plugin = reed.create_plugin { name = "simple-seo", version = "1.2.0" }

local DEFAULTS = {
  fields = {}, language = "en", title_min = 15, title_max = 60, description_min = 50, description_max = 160, body_words_min = 200,
  paragraph_words_max = 150, section_words_max = 350, sentence_words_max = 25, reading_ease_min = 30, keywords_max = 10,
  keyword_density_max = 0.05, keywords_found = 15,
}

local function settings()
  return setmetatable({}, { __index = function(_, key) return reed.settings[key] or DEFAULTS[key] end })
end

local function trim(text) return text:match("^%s*(.-)%s*$") end

--- The fields of a snippet that the checks use; `names` maps them to the names in its type.
local function fields_of(snippet, names)
  local content = type(snippet) == "table" and snippet.content
  if type(content) ~= "table" then reed.fail(422, "expected a snippet with its content") end
  local function text(field)
    local value = content[names[field] or field]
    return type(value) == "string" and value or ""
  end
  local keywords, declared = json.array(), content[names.keywords or "keywords"]
  if type(declared) == "string" then
    for word in declared:gmatch("[^,;]+") do keywords[#keywords + 1] = trim(word) end
  elseif type(declared) == "table" then
    for _, word in ipairs(declared) do
      if type(word) == "string" then keywords[#keywords + 1] = word end
    end
  end
  return {
    title = trim(text "title"),
    description = trim(text "description"),
    body = text "body",
    path = text "path",
    keywords = keywords,
  }
end

--- Parses the body and adds its prose.
local function read(page)
  page.page = markdown.read(page.body)
  local texts = {}
  for i, paragraph in ipairs(page.page.paragraphs) do texts[i] = paragraph.text end
  page.first = texts[1] or ""
  page.prose = table.concat(texts, "\n")
  page.words = words.list(page.prose)
  return page
end

local function measure(page, language)
  local sentences, total = 0, 0
  for _, paragraph in ipairs(page.page.paragraphs) do
    for _, count in ipairs(words.sentences(paragraph.text)) do sentences, total = sentences + 1, total + count end
  end
  page.sentences = sentences
  page.sentence_words = sentences > 0 and total / sentences or 0
  page.reading_ease = language == "en" and #page.words > 0 and words.reading_ease(page.words, sentences) or nil
  local headings = {}
  for i, heading in ipairs(page.page.headings) do headings[i] = heading.text end
  page.stems = { title = words.stems(page.title), description = words.stems(page.description), first = words.stems(page.first) }
  page.stems.body = words.stems(page.prose)
  page.stems.all = page.stems.title .. page.stems.description .. words.stems(table.concat(headings, " ")) .. page.stems.body
    .. words.stems(page.path:gsub("[/_-]", " "))
end

local function stats(page)
  return {
    title_length = utf8.len(page.title) or #page.title,
    description_length = utf8.len(page.description) or #page.description,
    words = #page.words,
    sentences = page.sentences,
    words_per_sentence = math.floor(page.sentence_words * 10 + 0.5) / 10,
    reading_ease = page.reading_ease or json.null,
    minutes = math.ceil(#page.words / 220),
    paragraphs = #page.page.paragraphs,
    headings = #page.page.headings,
    images = #page.page.images,
    links = #page.page.links,
  }
end

plugin.action("validate", function(_, snippet)
  local set = settings()
  local page = read(fields_of(snippet, set.fields))
  measure(page, set.language)
  local issues, score = json.array(), 100
  local function report(code, severity, field, message, hint, line)
    issues[#issues + 1] = { code = code, severity = severity, field = field, message = message, hint = hint, line = line }
    score = score - checks.PENALTY[severity]
  end
  for _, check in ipairs(checks.ALL) do check(page, set, report) end
  local order = { error = 1, warning = 2, notice = 3 }
  for i, issue in ipairs(issues) do issue.at = i end
  table.sort(issues, function(a, b)
    if a.severity ~= b.severity then return order[a.severity] < order[b.severity] end
    return a.at < b.at
  end)
  for _, issue in ipairs(issues) do issue.at = nil end
  return { score = math.max(0, score), issues = issues, stats = stats(page) }
end)

plugin.action("keywords", function(_, snippet)
  local set = settings()
  local page = read(fields_of(snippet, set.fields))
  local texts = { { page.title, 6 }, { page.description, 3 } }
  for _, heading in ipairs(page.page.headings) do texts[#texts + 1] = { heading.text, 3 } end
  for i, paragraph in ipairs(page.page.paragraphs) do texts[#texts + 1] = { paragraph.text, i == 1 and 2 or 1 } end
  return { keywords = words.keywords(texts, set.keywords_found), declared = page.keywords, words = #page.words }
end)

plugin.run()
