local markdown = require "markdown"

local function texts(list)
  local result = {}
  for i, entry in ipairs(list) do result[i] = entry.text end
  return result
end

describe("markdown", function()
  it("reads headings of both kinds, and their lines", function()
    local page = markdown.read("# One #\n\nTwo\n===\n\n### `code` *three* {#anchor}\ntext\n---\n####### seven\n")
    assert.same(texts(page.headings), { "One", "Two", "code three", "text" })
    assert.same({ page.headings[1].level, page.headings[2].level, page.headings[3].level, page.headings[4].level }, { 1, 1, 3, 2 })
    assert.equal(page.headings[3].line, 6)
  end)

  it("removes code", function()
    local page = markdown.read(table.concat({
      "before", "```md", "# no heading", "![](no.png)", "~~~", "```", "between `# inline` us", "", "    # indented", "",
      "~~~~", "```", "~~~", "# still no", "~~~~", "- item", "  ```", "  # no", "  ```", "after",
    }, "\n"))
    assert.same(page.headings, {})
    assert.same(page.images, {})
    assert.same(texts(page.paragraphs), { "before", "between us", "item", "after" })
  end)

  it("removes indented code after a heading or a fence, but not indented lines of a paragraph", function()
    local page = markdown.read("## A\n    # code\n    more\ntext\n    goes on\n```\n```\n    code\n")
    assert.same(texts(page.headings), { "A" })
    assert.same(texts(page.paragraphs), { "text goes on" })
  end)

  it("treats an unclosed fence as code up to the end", function()
    assert.same(texts(markdown.read("a\n\n```\nb\n# c").paragraphs), { "a" })
  end)

  it("removes front matter, comments, template tags and HTML", function()
    local page = markdown.read("---\ntitle: x\n# no\n---\n\nseen <!-- # not\n\n## seen --> {{< figure src=\"a.png\" >}}again <b>bold</b>\n")
    assert.same(page.headings, {})
    assert.same(texts(page.paragraphs), { "seen", "again bold" })
    assert.same(texts(markdown.read("+++\nx = 1\n+++\nbody").paragraphs), { "body" })
    assert.same(texts(markdown.read("---\nno end").paragraphs), { "no end" })
  end)

  it("finds images and links", function()
    local page = markdown.read('![A cat](cat.png) ![](b.png "title")\n<img src="c.png"> <img alt="d" src=d.png>\n'
      .. '[text](/a "t") [](empty) [no]() [ref][one] [**b**](x_(y)) <a href="/z">z</a> [![](i.png)](/i)\n\n[one]: /one\n')
    local alts = {}
    for i, image in ipairs(page.images) do alts[i] = image.alt end
    assert.same(alts, { "A cat", "", "", "d", "" })
    assert.same(texts(page.links), { "text", "", "no", "b", "", "ref", "z" })
    assert.equal(page.links[1].target, "/a")
    assert.equal(page.links[3].target, "")
  end)

  it("separates lists, quotations and tables", function()
    local page = markdown.read("intro\ngoes on\n* one\n* two\n  more\n\n> [!note]\n> quoted\n\n| a | b |\n|---|:-:|\n| c | d |\n")
    assert.same(texts(page.paragraphs), { "intro goes on", "one", "two more", "quoted", ". a . b .", ". c . d ." })
  end)

  it("accepts any text", function()
    for _, text in ipairs { "", "\n", "```", "#", "[", "![", "---", "<!--", "\r\n\r\n", ("["):rep(2000), ("*"):rep(2000), ("<a "):rep(500), "\255\254" } do
      assert.equal(type(markdown.read(text)), "table")
    end
  end)
end)
