--[[ Reads the visible parts of Markdown: prose, headings, images and links, without code and front matter.

    local page = markdown.read(text)
    page.headings     {level, text, line}              page.images     {alt, target, line}
    page.paragraphs   {text, line}                     page.links      {text, target, line}

It works line by line, so a page of 100,000 characters takes milliseconds. Inline code is removed from paragraphs, because
its words are not prose, and kept in headings and link texts. ]]
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local markdown = {}

-- Blocks --------------------------------------------------------------------------------------------------------------

--- The first line after the front matter (--- YAML ---, +++ TOML +++).
local function body_start(lines)
  local fence = match(lines[1] or "", "^(%-%-%-)%s*$") or match(lines[1] or "", "^(%+%+%+)%s*$")
  if not fence then return 1 end
  for i = 2, #lines do
    if match(lines[i], "^" .. gsub(fence, "%p", "%%%0") .. "%s*$") then return i + 1 end
  end
  return 1
end

--- The fence that a line opens ("```", "~~~~"), or nil; also within a list or a quotation.
local function opening_fence(line)
  local fence, info = match(line, "^[%s>]*(```+)([^`]*)$")
  if not fence then fence, info = match(line, "^[%s>]*(~~~+)(.*)$") end
  if not fence then fence, info = match(line, "^%s*[-*+%d][.)]?%s+(```+)([^`]*)$") end
  return fence, info
end

local function closes(line, fence)
  local closing = match(line, "^[%s>]*([`~]+)%s*$")
  return closing and #closing >= #fence and sub(closing, 1, 1) == sub(fence, 1, 1)
end

--- A line without HTML comments, and whether a comment continues after it; `open`: one started before it.
local function without_comments(line, open)
  if open then
    local _, stop = find(line, "-->", 1, true)
    if not stop then return "", true end
    line = sub(line, stop + 1)
  end
  if not find(line, "<!--", 1, true) then return line, false end
  line = gsub(line, "<!%-%-.-%-%->", "")
  local start = find(line, "<!--", 1, true)
  if start then return sub(line, 1, start - 1), true end
  return line, false
end

-- Inline --------------------------------------------------------------------------------------------------------------

local function trim(text) return (gsub(gsub(text, "^%s+", ""), "%s+$", "")) end

--- The alt text of an <img …> tag, or nil without an alt attribute.
local function alt_of(tag)
  return match(tag, "%f[%w][aA][lL][tT]%s*=%s*\"([^\"]*)\"") or match(tag, "%f[%w][aA][lL][tT]%s*=%s*'([^']*)'")
end

local function images_of(line, number, page)
  local function image(alt, target)
    page.images[#page.images + 1] = { alt = trim(alt), target = target, line = number }
    return alt
  end
  line = gsub(line, "!%[([^%]]*)%]%(([^)]*)%)", image)
  line = gsub(line, "!%[([^%]]*)%]%[([^%]]*)%]", image)
  return (gsub(line, "<[iI][mM][gG]%f[%s/>]([^>]*)>", function(tag)
    return image(alt_of(tag) or "", match(tag, "src%s*=%s*[\"']([^\"']*)") or "")
  end))
end

local function links_of(line, number, page)
  local function link(text, target)
    target = match(target, "^%s*<?([^%s>]*)") or ""
    page.links[#page.links + 1] = { text = trim((gsub(text, "[`*_]", ""))), target = target, line = number }
    return gsub(text, "`[^`]*`", " ")
  end
  line = gsub(line, "%[([^%[%]]*)%](%b())", function(text, target) return link(text, sub(target, 2, -2)) end)
  line = gsub(line, "%[([^%[%]]+)%]%[([^%]]*)%]", function(text, ref) return link(text, "[" .. ref .. "]") end)
  return (gsub(line, "<[aA]%s([^>]*)>(.-)</[aA]>", function(tag, text)
    local target = match(tag, "href%s*=%s*[\"']([^\"']*)")
    if not target then return text end -- an anchor
    return link(gsub(text, "<[^>]*>", ""), target)
  end))
end

--- The visible text of a line, without markup and inline code.
local function plain(line)
  line = gsub(line, "``.-``", " ")
  line = gsub(line, "`[^`]*`", " ")
  if find(line, "<", 1, true) then line = gsub(line, "</?[%a!][^>]*>", " ") end
  line = gsub(line, "%*+", "")
  line = gsub(line, "(%f[%w_]_+)([^_]+)(_+)%f[^%w_]", "%2")
  return trim((gsub(line, "%s+", " ")))
end

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', nbsp = " ", mdash = "—", ndash = "–", hellip = "…" }

local function inline(line, number, page)
  if find(line, "{{", 1, true) then line = gsub(line, "{{.-}}", " ") end
  if find(line, "![", 1, true) or find(line, "<", 1, true) then line = images_of(line, number, page) end
  if find(line, "](", 1, true) or find(line, "][", 1, true) or find(line, "<a", 1, true) then
    line = links_of(line, number, page)
  end
  if find(line, "&", 1, true) then line = gsub(line, "&(%a+);", ENTITIES) end
  return line
end

-- A page --------------------------------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

function Reader:end_paragraph()
  if not self.text then return end
  self.page.paragraphs[#self.page.paragraphs + 1] = { text = self.text, line = self.text_line }
  self.text = nil
end

function Reader:add(text, number)
  if text == "" then return end
  if self.text then self.text = self.text .. " " .. text
  else self.text, self.text_line = text, number end
end

function Reader:heading(level, text, number)
  self:end_paragraph()
  text = inline(gsub(text, "%s*{#[^}]*}%s*$", ""), number, self.page)
  text = trim((gsub(text, "[`*]", "")))
  self.page.headings[#self.page.headings + 1] = { level = level, text = text, line = number }
  return true
end

--- Handles a line outside of code; returns true if indented code may follow.
function Reader:line(line, number)
  if not find(line, "%S") then
    self:end_paragraph()
    return true
  end
  local marks, text = match(line, "^ ? ? ?(#+)%s+(.-)%s*#*%s*$")
  if not marks then marks, text = match(line, "^ ? ? ?(#+)%s*$"), "" end
  if marks and #marks <= 6 then return self:heading(#marks, text, number) end
  local underline = match(line, "^ ? ? ?(=+)%s*$") or match(line, "^ ? ? ?(%-+)%s*$")
  if underline and self.text and not self.in_list then
    text, self.text = self.text, nil
    return self:heading(sub(underline, 1, 1) == "=" and 1 or 2, text, number - 1)
  end
  if find(line, "^%s*[-*_|:+ ]+$") then return self:end_paragraph() end -- a rule, or the second line of a table
  if find(line, "^ ? ? ?%[[^%]]+%]:%s") then return end -- the definition of a reference
  local item = match(line, "^%s*[-*+]%s+(.*)$") or match(line, "^%s*%d+[.)]%s+(.*)$")
  if item then
    self:end_paragraph()
    self.in_list, line = true, item
  end
  line = gsub(line, "^[%s>]+", "")
  line = gsub(line, "^%[![%a]+%]", "")
  if find(line, "|", 1, true) then
    self:end_paragraph()
    line = gsub(line, "|", ". ")
  end
  self:add(plain(inline(line, number, self.page)), number)
end

--- Reads a page.
function markdown.read(text)
  local page = { headings = {}, paragraphs = {}, images = {}, links = {} }
  local reader = setmetatable({ page = page, in_list = false }, Reader)
  local lines = {}
  for line in string.gmatch(text, "([^\n]*)\n?") do lines[#lines + 1] = gsub(line, "\r$", "") end
  local fence, comment, free = nil, false, true
  for number = body_start(lines), #lines do
    local line = lines[number]
    if fence then
      if closes(line, fence) then fence = nil end
    else
      line, comment = without_comments(line, comment)
      fence = opening_fence(line)
      local indented = find(line, "^    ") or find(line, "^\t")
      if fence or indented and free and not reader.in_list then
        reader:end_paragraph() -- code
        free = true
      else
        if not indented and free and not find(line, "^%s*[-*+%d]") and find(line, "%S") then reader.in_list = false end
        free = reader:line(line, number)
      end
    end
  end
  reader:end_paragraph()
  return page
end

return markdown
