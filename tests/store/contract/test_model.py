"""The store does what a model of plain dicts does."""

from __future__ import annotations

from harness import Driver
from model import OPTIONS, Model, check


def test_the_store_does_what_the_model_does(factory):
    check(Model, lambda folder: Driver(factory.open(folder, OPTIONS)))
