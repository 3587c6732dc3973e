local reed = require "reed"
local form

reed.snippet.get = function(ref)
  if ref == "forms/none" then error({ status = 404, message = "no snippet" }, 0) end
  return { id = "x", type = "form", name = ref, version = 1, content = form }
end

local function validate(data, fields)
  form = json.object { fields = fields }
  return (call("validate", { form = "forms/contact", data = json.object(data) }))
end

--- "!" and the code of the only error for a field with this value, or its normalised value.
local function one(field, value)
  field.name, field.label = "f", "F"
  local result = validate({ f = value }, { field })
  if result.valid then return result.values.f end
  assert.equal(#result.errors, 1)
  assert.is_nil(result.values.f)
  assert.is_true(#result.errors[1].message > 5)
  assert.is_nil(result.errors[1].message:find("[{}]"))
  return "!" .. result.errors[1].code
end

describe("validate", function()
  local CASES = { -- type, sent, value or !code
    { "text", "  Ada  ", "Ada" }, { "text", 12, "12" }, { "text", "a\nBcc: x", "!line_break" }, { "text", "a\0b", "!characters" },
    { "text", { 1 }, "!kind" }, { "text", ("x"):rep(1001), "!too_long" }, { "text", ("ä"):rep(1000), ("ä"):rep(1000) },
    { "textarea", "a\r\nb\n", "a\nb" }, { "textarea", ("x"):rep(10001), "!too_long" },
    { "email", "ada@example.org", "ada@example.org" }, { "email", "a.b+c@sub.example.co.uk", "a.b+c@sub.example.co.uk" },
    { "email", "jö@müller.de", "jö@müller.de" }, { "email", "ada", "!email" }, { "email", "a@b", "!email" }, { "email", "a@@b.de", "!email" },
    { "email", "a..b@c.de", "!email" }, { "email", "a@b.de\nBcc: c@d.de", "!line_break" }, { "email", "a b@c.de", "!email" },
    { "url", "https://example.org/a?b#c", "https://example.org/a?b#c" }, { "url", "example.org", "!url" }, { "url", "javascript:alert(1)", "!url" },
    { "url", "https://user@evil.org", "!url" }, { "tel", "+49 (30) 123-456", "+49 (30) 123-456" }, { "tel", "call me", "!tel" }, { "tel", "12", "!tel" },
    { "number", "12.5", 12.5 }, { "number", "-3", -3 }, { "number", "1e9", "!number" }, { "number", "0x10", "!number" }, { "number", "nan", "!number" },
    { "integer", "7", 7 }, { "integer", 7.0, 7 }, { "integer", "7.5", "!integer" },
    { "date", "2024-02-29", "2024-02-29" }, { "date", "2023-02-29", "!date" }, { "date", "31.12.2025", "!date" },
    { "time", "23:59", "23:59" }, { "time", "24:00", "!time" }, { "checkbox", "on", true }, { "checkbox", "perhaps", "!kind" },
  }
  it("reads each type", function()
    for _, case in ipairs(CASES) do assert.same(one({ type = case[1] }, case[2]), case[3]) end
  end)

  it("checks min and max", function()
    assert.equal(one({ type = "text", min = 3 }, "ab"), "!too_short")
    assert.equal(one({ type = "text", max = 3 }, "äöüß"), "!too_long")
    assert.equal(one({ type = "number", min = 1 }, "0"), "!too_small")
    assert.equal(one({ type = "integer", max = 5 }, 6), "!too_large")
    assert.equal(one({ type = "date", min = "2025-01-01" }, "2024-12-31"), "!too_early")
    assert.equal(one({ type = "time", max = "18:00" }, "18:01"), "!too_late")
    assert.equal(one({ type = "date", min = "2025-01-01", max = "2025-12-31" }, "2025-06-01"), "2025-06-01")
  end)

  it("accepts only options", function()
    local options = { "red", { value = "b", label = "Blue" } }
    assert.equal(one({ type = "select", options = options }, "b"), "b")
    assert.equal(one({ type = "radio", options = options }, "Blue"), "!option")
    assert.same(one({ type = "checkboxes", options = options }, json.array { "b", "red", "b" }), { "b", "red" })
    assert.same(one({ type = "checkboxes", options = options }, "red"), { "red" })
    assert.equal(one({ type = "checkboxes", options = options, min = 2 }, json.array { "red" }), "!too_few")
    assert.equal(one({ type = "checkboxes", options = options, max = 1 }, json.array { "red", "b" }), "!too_many")
    local result = validate({ f = "green" }, { { name = "f", label = "Colour", type = "select", options = options } })
    assert.equal(result.errors[1].message, "“Colour” must be one of these: red, Blue.")
  end)

  it("requires a value, with a message for each type", function()
    for _, case in ipairs { { "text", "required" }, { "checkbox", "accept" }, { "select", "choose" } } do
      for _, empty in ipairs { "", "  ", json.null, false } do
        assert.equal(one({ type = case[1], required = true, options = { "a" } }, empty), "!" .. case[2])
      end
      assert.equal(one({ type = case[1], required = true, options = { "a" } }, nil), "!" .. case[2])
    end
    assert.is_true(validate({ f = "" }, { { name = "f" } }).valid)
    assert.is_false(validate({ f = false }, { { name = "f", type = "checkbox" } }).values.f)
  end)

  it("matches the whole value against a pattern, and uses the form's message", function()
    local field = { pattern = "%d%d%d%d%d", message = "Five digits, please." }
    assert.equal(one(field, "12345"), "12345")
    assert.equal(one(field, "123456"), "!pattern")
    assert.equal(validate({ f = "x" }, { { name = "f", pattern = "%d+", message = "Digits!" } }).errors[1].message, "Digits!")
  end)

  it("compares two fields", function()
    local fields = { { name = "a", label = "Mail" }, { name = "b", label = "Again", same_as = "a" } }
    assert.is_true(validate({ a = "x", b = "x" }, fields).valid)
    assert.equal(validate({ a = "x", b = "y" }, fields).errors[1].message, "“Again” must be the same as “Mail”.")
  end)

  it("rejects or ignores unknown fields", function()
    local result = validate({ f = "x", admin = true }, { { name = "f" } })
    assert.equal(result.errors[1].code, "unknown")
    assert.is_nil(result.values.admin)
    form = { unknown_fields = "ignore", fields = { { name = "f" } } }
    result = call("validate", { form = "forms/contact", data = { f = "x", admin = true } })
    assert.is_true(result.valid)
    assert.same(result.values, { f = "x" })
  end)

  it("recognises a robot by the honeypot", function()
    form = { honeypot = "website", fields = { { name = "f", required = true } } }
    local result = call("validate", { form = "forms/contact", data = { f = "x", website = "http://spam" } })
    assert.same(result, { valid = false, spam = true, errors = {}, values = {} })
    assert.is_true(call("validate", { form = "forms/contact", data = { f = "x", website = "" } }).valid)
  end)

  it("limits the size", function()
    form = { fields = { { name = "f", type = "textarea" } } }
    local result = call("validate", { form = "forms/contact", data = { f = ("x"):rep(70000) } })
    assert.equal(result.errors[1].message, "The form is too large: at most 64 kB, please.")
  end)

  it("uses German and custom messages", function()
    reed.settings.language = "de"
    assert.equal(validate({}, { { name = "f", label = "Name", required = true } }).errors[1].message, "Bitte „Name“ ausfüllen.")
    reed.settings.messages = { required = "{label}?" }
    assert.equal(validate({}, { { name = "f", label = "Name", required = true } }).errors[1].message, "Name?")
    reed.settings.language, reed.settings.messages = nil, nil
  end)

  it("rejects invalid requests", function()
    assert.equal(assert.fails(function() call("validate", { form = "forms/none", data = json.object() }) end, "no form").status, 404)
    for _, request in ipairs { "[]", "{}", '{"form":1,"data":{}}', '{"form":"x","data":[1]}' } do
      assert.equal(assert.fails(function() call("validate", request) end, "expected").status, 422)
    end
    form = { fields = { { name = "f", type = "selct" } } }
    local failure = assert.fails(function() call("validate", { form = "forms/contact", data = json.object() }) end, "cannot be used")
    assert.contains(failure.message, "Did you mean “select”?")
  end)
end)
