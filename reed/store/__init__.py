"""The content: snippets, their bonds, their types, a search index.

base    what a store must do           sqlite  the embedded store: one file
"""
