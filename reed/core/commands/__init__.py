"""The handlers of the commands (adding-a-command.md): each unpacks the payload and ends the call, at once or later."""
