local reed = require "reed"

local TEXT = ("A template decides how a page looks. Every page has one, and the site finds it by its kind, its type or the folder it is in. "):rep(5)
local GOOD = {
  title = "How templates shape a page",
  description = "What a template is, how the site finds the one for a page, and how you write your own.",
  keywords = { "template" },
  path = "guides/templates",
  body = TEXT .. "\n\n## Lookup\n\n" .. TEXT .. "\n\n### Order\n\n" .. TEXT .. "\n\n![The order of lookup](order.png)\n\nSee [writing templates](/write).\n",
}

--- The good page, with some fields changed.
local function page(changes)
  local content = {}
  for key, value in pairs(GOOD) do content[key] = value end
  for key, value in pairs(changes or {}) do content[key] = value end
  return { id = "x", type = "page", name = "guides/templates", version = 1, content = content }
end

local function validate(changes) return (call("validate", page(changes))) end

local function issue_of(report, code)
  for _, issue in ipairs(report.issues) do
    if issue.code == code then return issue end
  end
end

describe("validate", function()
  it("reports nothing for a good page", function()
    local report = validate()
    assert.same(report.issues, json.array())
    assert.equal(report.score, 100)
    assert.equal(json.encode(report.issues), "[]")
    assert.equal(report.stats.headings, 2)
    assert.equal(report.stats.images, 1)
    assert.equal(report.stats.links, 1)
  end)

  local CASES = {
    ["title-missing"] = { title = "  " },
    ["title-short"] = { title = "Templates" },
    ["title-long"] = { title = ("long title "):rep(10) },
    ["title-capitals"] = { title = "HOW TEMPLATES SHAPE A PAGE" },
    ["title-repeats"] = { title = "Template basics: your template" },
    ["description-missing"] = { description = json.null },
    ["description-short"] = { description = "About templates." },
    ["description-long"] = { description = ("What a template is. "):rep(10) },
    ["description-is-title"] = { description = GOOD.title },
    ["description-doubled"] = { description = "What a template is, how the the site finds the one for a page." },
    ["body-missing"] = { body = "```\ncode alone\n```" },
    ["body-short"] = { body = "Only a few words about a template." },
    ["word-doubled"] = { body = GOOD.body .. "\n\nit is is twice" },
    ["paragraph-long"] = { body = TEXT .. TEXT .. TEXT },
    ["heading-empty"] = { body = GOOD.body .. "\n\n##\n" },
    ["heading-first-level"] = { body = "# Templates\n\n" .. GOOD.body },
    ["heading-order"] = { body = GOOD.body .. "\n\n## A\n\n#### B\n" },
    ["heading-twice"] = { body = GOOD.body .. "\n\n## Lookup\n" },
    ["heading-missing"] = { body = (TEXT .. "\n\n"):rep(4) },
    ["image-alt-missing"] = { body = GOOD.body .. "\n![](cat.png)" },
    ["link-text-missing"] = { body = GOOD.body .. "\n[](/nowhere)" },
    ["link-target-missing"] = { body = GOOD.body .. "\n[todo]()" },
    ["link-text-vague"] = { body = GOOD.body .. "\n[here](/there)" },
    ["sentences-long"] = { body = ("a long one that goes on "):rep(60) .. "." },
    ["hard-to-read"] = { body = ("Organizational internationalization necessitates interdisciplinary considerations. "):rep(30) },
    ["keywords-many"] = { keywords = { "template", "page", "site", "kind", "order", "lookup", "writing", "shape", "finds", "looks", "one" } },
    ["keyword-twice"] = { keywords = { "template", "templates" } },
    ["keyword-unused"] = { keywords = { "template", "gardening" } },
    ["keyword-stuffed"] = { body = ("Template template page. "):rep(60) },
    ["keyword-late"] = { keywords = "kind", body = "Looks matter.\n\n" .. GOOD.body, description = "How you write your own looks, and where you put them for later." },
    ["path-letters"] = { path = "Guides/My Templates" },
    ["path-long"] = { path = ("guides/"):rep(12) },
  }
  for code, changes in pairs(CASES) do
    it("finds " .. code, function()
      local report = validate(changes)
      local issue = issue_of(report, code)
      assert(issue, "found only " .. json.encode(report.issues))
      assert.is_true(#issue.message > 0 and #issue.hint > 0 and #issue.field > 0)
      assert.is_true(report.score < 100)
    end)
  end

  it("names the lines", function()
    local report = validate { body = "one\n\n## Two\n\n![](a.png)\n\n![](b.png)\n" .. TEXT }
    local issue = issue_of(report, "image-alt-missing")
    assert.equal(issue.line, 5)
    assert.contains(issue.message, "2 images without a text (lines 5 and 7)")
  end)

  it("sorts errors first, and the score is at least 0", function()
    local report = validate { title = "", description = "", body = "# \n\n####\n![](a)\n[]()", keywords = { "a b", "c d" }, path = "A b" }
    assert.equal(report.issues[1].severity, "error")
    assert.equal(report.issues[#report.issues].severity, "notice")
    assert.is_true(report.score >= 0 and report.score < 50)
  end)

  it("uses the bounds and field names of the settings", function()
    reed.settings.title_max, reed.settings.fields = 20, { title = "headline" }
    local report = validate { headline = "A headline of 32 characters here" }
    assert.contains(issue_of(report, "title-long").message, "32 characters")
    reed.settings.title_max, reed.settings.fields = nil, nil
  end)

  it("rejects anything but a snippet", function()
    assert.equal(assert.fails(function() call("validate", "[]") end, "expected a snippet").status, 422)
    assert.fails(function() call("validate", "{") end, "expected a snippet")
  end)

  it("accepts fields of any type", function()
    for _, value in ipairs { 1, true, json.null, json.array(), json.object() } do
      assert.equal(type(validate { title = value, body = value, keywords = value, path = value }.score), "number")
    end
  end)
end)
