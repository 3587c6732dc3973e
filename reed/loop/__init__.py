"""The core's event loop (`loop`, `timers`) and its non-blocking sockets (`stream`)."""
