"""`reed web`: pages for operators and editors, in a process of its own that is an ordinary client of core.sock.

    browser ── HTTP ── uvicorn ── Guard ── router ── page ── Context.ask ── Client ── core.sock ── core
                                  │                    └─ Context.render ── templates/*.html
                                  └ Host, session, CSRF, response headers

    listening    the socket: a port of this machine, or a Unix socket
    server       the printed link, uvicorn
    app          the application: Guard, the routes of all pages, error pages, static files
    security     Guard: what every request must have, and every response has; parses the form of a POST
    proxy        users that a proxy in front signs in
    sessions     sessions (a cookie) and one-time links
    context      Context, the interface of pages to all of it
    connections  pooled connections to the core, used in threads
    history      figures of the last minutes, and charts of them
    log_tail     the end of a log, and what is added to it
    watching     monitor.sock, filtered and decoded
    forms        a form from a JSON Schema and back;  form_schema: its controls;  form_page: what the pages with such a
                 form share, such as errors at fields
    differences  two versions of a content, value by value, and merge patches
    definitions  the types of content, for people who may read them or not
    arrangement  moves of bonds in a tree
    marks        words of a query in an excerpt;  titles: a line that tells a snippet from others
    pages/       a module for each entry of the navigation: ROUTES, and NAVIGATION = (title, path)
    templates/   Jinja2, always escaped; a page extends base.html
    static/      CSS and ES modules, served as they are

A page is a function of a request:

    async def show(request: Request) -> Response:
        web = context_of(request)
        record = await web.ask(request, Client.snippet_get, request.path_params["ref"])
        return web.render(request, "snippet.html", record=record)

    async def rename(request: Request) -> Response:      # a POST; Guard has checked its CSRF token
        web = context_of(request)
        name = form_of(request)["name"]                  # str; all of a name: form_of(request).getlist("name")
        await web.ask(request, Client.snippet_rename, ref, name)
        return web.redirect(request, f"/content/{ref}", f"renamed to {name}")

    ROUTES = [Route("/content/{ref:path}", show), Route("/content/{ref:path}/rename", rename, methods=["POST"])]

An exception of reed.errors that a page does not catch becomes an error page with status, message and hint; for a
request that accepts application/json it becomes {"error": {"status", "message", "hint"}}.

A template has, besides its values: `csrf`, the token; `session`, whose `user` is None for the operator; `path`,
`navigation`, `notices`. A form with method post contains <input type="hidden" name="csrf" value="{{ csrf }}">. Scripts
import static/page.js: `post(url, fields)` sends the token, `poll(url, seconds, show)` reads figures again, `say(text)`
shows a notice.

The Content-Security-Policy permits no inline script or style and no other origin: no style="", no onclick="".

Classes of static/reed.css: panel, facts (dl), scroll (around a table), number (a cell), toolbar, title-line, columns,
fields, field and in it hint and problem, notice, error, state (with data-state), tag, muted, code (pre, textarea),
primary, danger and quiet (buttons), hidden-visually.
"""
