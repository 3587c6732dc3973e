-- A module of the warm-up.
return { words = {}, count = function(text) return select(2, text:gsub("%w+", "")) end }
