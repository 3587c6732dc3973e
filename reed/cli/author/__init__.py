"""What the author of a plugin uses: `reed plugin scaffold`, `test` and `dev`.

scaffold ── a folder ── checks ── report          test: once, on an ephemeral core
                          └────── dev, dev_core   dev: again after each change, in the core of the site if it runs

project       the folder under test: manifest, row, what its plugin type needs
checks        the checks, with fixtures (content), answers (of actions) and fifo_check (messages)
"""
