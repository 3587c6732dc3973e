"""`manage.py define_types`: define the types of this site in the core, as `migrate` does for tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notes.core import TYPES, connect
from reed.errors import ReedError


class Command(BaseCommand):
    help = "Define the types of this site in the reed core. Defining a type again changes nothing."

    def handle(self, *_: Any, **__: Any) -> None:
        try:
            with connect() as core:
                for name, definition in TYPES.items():
                    is_new = core.registry_define(name, definition)
                    self.stdout.write(f"{name}: {'defined' if is_new else 'up to date'}")
        except ReedError as error:
            raise CommandError(str(error)) from error
