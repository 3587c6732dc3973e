--- A snippet as the core sends it.
local function page(content)
  return { id = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", type = "page", name = "about", version = 1, content = content }
end

describe("count", function()
  it("counts words, and rounds minutes up", function()
    assert.same(call("count", page { body = "A few words." }), { words = 3, minutes = 1 })
    assert.equal(call("count", page { body = ("word "):rep(401) }).minutes, 3)
  end)

  it("rejects a page without a body", function()
    local failure = assert.fails(function() call("count", page { title = "About" }) end, "no body")
    assert.equal(failure.status, 422)
  end)
end)
