local words = require "words"

local function keywords(content)
  local answer = call("keywords", { content = content })
  local list = {}
  for i, entry in ipairs(answer.keywords) do list[i] = entry.keyword end
  return list, answer
end

describe("keywords", function()
  local body = "Page bundles hold the images of a page. A page bundle is a folder. `inline.Code` is not a word.\n\n```go\ncode code code code\n```\n\n"
    .. "## Leaf bundles\n\nA leaf bundle has no children. The and of it are you for them. Images belong to the leaf bundle."

  it("ranks keywords", function()
    local list, answer = keywords { title = "Page bundles", body = body, keywords = { "bundles" } }
    assert.matches(list[1], "bundle")
    local all = " " .. table.concat(list, " ") .. " "
    for _, stop in ipairs { " the ", " and ", " code ", " you ", " inline" } do assert.is_nil(all:find(stop, 1, true)) end
    assert.contains(all, "leaf bundle")
    assert.same(answer.declared, { "bundles" })
  end)

  it("counts plural and singular as one", function()
    local _, answer = keywords { title = "", body = "A template. Two templates. The template's end." }
    assert.equal(answer.keywords[1].count, 3)
    assert.equal(answer.keywords[1].keyword, "template")
  end)

  it("accepts words that are names of functions", function()
    assert.same((keywords { title = "count add", body = "count add. add count." })[1] ~= nil, true)
  end)

  it("finds none on an empty page", function()
    assert.equal(json.encode(call("keywords", { content = {} })), '{"declared":[],"keywords":[],"words":0}')
  end)
end)

describe("words", function()
  it("handles letters beyond ASCII", function()
    assert.same(words.list("Über die Wälder, co-op's “naïve” ÉTÉ"), { "über", "die", "wälder", "co-op's", "naïve", "été" })
  end)

  it("splits sentences", function()
    assert.same(words.sentences("One two. Version 1.5 is out! Yes? (And so.) the rest"), { 2, 5, 1, 2, 2 })
  end)

  it("finds stems", function()
    for word, stem in pairs { templates = "template", queries = "query", classes = "class", status = "status", glass = "glass",
      ["hugo's"] = "hugo", branches = "branch", bus = "bus", analysis = "analysis" } do
      assert.equal(words.stem(word), stem)
    end
  end)

  it("computes the reading ease", function()
    local easy = words.reading_ease(words.list("The cat sat on the mat"), 1)
    local hard = words.reading_ease(words.list("Organizational internationalization necessitates considerations"), 1)
    assert.is_true(easy > 90 and hard < 10)
  end)
end)
