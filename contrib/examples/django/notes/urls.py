"""Addresses of the site."""

from django.urls import path

from notes import views

urlpatterns = [
    path("", views.index),
    path("notes", views.notes),
    path("notes/<path:ref>", views.note),
    path("search", views.search),
]
