local reed = require "reed"

describe("greet", function()
  it("greets by name", function()
    assert.same(call("greet", { name = "Ada" }), { greeting = "Hello, Ada!" })
  end)

  it("uses the greeting of the settings", function()
    reed.settings.greeting = "Good morning"
    assert.equal(call("greet", { name = "Ada" }).greeting, "Good morning, Ada!")
    reed.settings.greeting = "Hello"
  end)

  it("rejects input without a name", function()
    local failure = assert.fails(function() call("greet", json.object()) end, "expected")
    assert.equal(failure.status, 422)
  end)
end)
