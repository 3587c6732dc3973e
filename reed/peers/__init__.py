"""LAYER 3: the FIFOs between plugins (the source, Plugin-to-Plugin Communication).

mesh    makes, holds and watches them; what travels on them is the plugins' own business
links   a second name of each, in folders that sandboxes grant
"""
