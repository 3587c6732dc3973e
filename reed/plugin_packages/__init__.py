"""Packages of plugins: what `reed plugin add`, `upgrade` and `pack` read and write.

    NAME, FOLDER, FILE.tar.gz ── source ──▶ a staged folder ── request: what it asks for ──▶ installation

files     the files of a plugin's folder that travel
archive   pack: the same folder gives the same bytes; unpack: hostile archives are refused
source    finds a plugin by name, folder or archive, and copies it
request   what a plugin asks for, in words, and what a new version asks for in addition
"""
