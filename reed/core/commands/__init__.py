"""The handlers of the commands: `handlers(…)` of `content` and of `plugins` binds them to the parts that they use.

A handler unpacks the payload (Malformed becomes a 400), calls the store or the supervisor, and ends the call with a
reply or an error, at once or later. Which commands there are is in `reed.wire.commands`.
"""
