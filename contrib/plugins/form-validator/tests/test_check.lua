local function check(content) return (call("check", { content = content })) end

local function codes(fields, extra)
  local content = extra or {}
  content.fields = fields
  local report, list = check(content), {}
  for i, problem in ipairs(report.problems) do
    assert.is_true(#problem.message > 0 and #problem.hint > 0)
    list[i] = problem.severity:sub(1, 1) .. ":" .. problem.code
  end
  return table.concat(list, " "), report
end

describe("check", function()
  it("has no problems with a good form", function()
    local found, report = codes({
      { name = "email", label = "E-mail", type = "email", required = true, help = "We never share it." },
      { name = "plz", label = "Postcode", pattern = "%d%d%d%d%d", message = "Five digits." },
      { name = "topic", label = "Topic", type = "select", options = { "a", { value = "b", label = "B" } } },
      { name = "age", label = "Age", type = "integer", min = 1, max = 120 },
    }, { title = "Contact", honeypot = "website" })
    assert.equal(found, "")
    assert.is_true(report.ok)
    assert.equal(report.fields, 4)
  end)

  local CASES = {
    { { { name = "a b", label = "x" } }, "e:name" },
    { { { label = "x" } }, "e:name" },
    { { 5 }, "e:field-kind" },
    { { { name = "a", label = "x" }, { name = "a", label = "y" } }, "e:name-twice" },
    { { { name = "a" } }, "w:label-missing" },
    { { { name = "a", label = "x", type = "emial" } }, "e:type-unknown" },
    { { { name = "a", label = "x", requird = true } }, "w:key-unknown" },
    { { { name = "a", label = "x", required = "yes" } }, "e:key-kind" },
    { { { name = "a", label = "x", min = -1 } }, "e:bound" },
    { { { name = "a", label = "x", type = "date", max = "soon" } }, "e:bound" },
    { { { name = "a", label = "x", type = "number", min = 2, max = 1 } }, "e:bounds-crossed" },
    { { { name = "a", label = "x", type = "select" } }, "e:options-missing" },
    { { { name = "a", label = "x", type = "radio", options = { "a", "a" } } }, "w:option-twice" },
    { { { name = "a", label = "x", type = "radio", options = { "a", true } } }, "e:option-kind" },
    { { { name = "a", label = "x", options = { "a" } } }, "w:options-unused" },
    { { { name = "a", label = "x", pattern = "%d+" } }, "w:pattern-message" },
    { { { name = "a", label = "x", pattern = "[", message = "m" } }, "e:pattern" },
    { { { name = "a", label = "x", pattern = "a*a*a*a*b", message = "m" } }, "e:pattern" },
    { { { name = "a", label = "x", pattern = "%bxy", message = "m" } }, "e:pattern" },
    { { { name = "a", label = "x", pattern = "(a)", message = "m" } }, "e:pattern" },
    { { { name = "a", label = "x", type = "number", pattern = "%d", message = "m" } }, "e:pattern" },
    { { { name = "a", label = "x", same_as = "b" } }, "e:same-as" },
  }
  it("reports each problem", function()
    for _, case in ipairs(CASES) do assert.equal((codes(json.array(case[1]))), case[2]) end
    assert.equal((codes({ { name = "a", label = "x" } }, { honeypot = "a" })), "e:honeypot")
    assert.equal((codes({ { name = "a", label = "x" } }, { unknown_fields = "keep" })), "e:unknown-fields")
    assert.equal(check(json.null).problems[1].code, "fields-missing")
    assert.equal(check({ fields = "none" }).problems[1].code, "fields-missing")
  end)

  it("suggests the nearest name", function()
    local _, report = codes { { name = "a", label = "x", type = "emial" } }
    assert.contains(report.problems[1].hint, "“email”")
    assert.is_false(report.ok)
  end)

  it("accepts only patterns that match in bounded time", function()
    local definition = require "definition"
    for _, pattern in ipairs { "a*a*a*b", "[%w-]+@[%w-]+%.%a+", "%a%a-%d+" } do
      assert.is_nil(definition.pattern_problem(pattern))
      assert.is_nil((("a"):rep(200) .. "!"):find("^" .. pattern .. "$")) -- or the test exceeds its processor time
    end
  end)
end)
