"""Settings for development: no database of Django's own, since the content is in the reed core."""

import os

from reed.client import DEFAULT_RUNTIME_DIR

REED_RUNTIME_DIR = os.environ.get("REED_RUNTIME_DIR", DEFAULT_RUNTIME_DIR)  # of `reed start`

DEBUG = True
SECRET_KEY = os.environ.get("SECRET_KEY", "for development only")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
INSTALLED_APPS = ["notes"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "notes.core.ErrorsOfTheCore"]
ROOT_URLCONF = "notes.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES: dict[str, dict[str, str]] = {}
