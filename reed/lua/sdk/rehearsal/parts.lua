-- A module of the rehearsal.
return { words = {}, count = function(text) return select(2, text:gsub("%w+", "")) end }
