"""The pages: each module has ROUTES, and NAVIGATION = (title, path). app.PAGES lists them in order."""
