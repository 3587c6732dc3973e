"""LAYER 3: the FIFOs between plugins (the source, Plugin-to-Plugin Communication).

mesh    makes, holds and watches them; what travels on them is the plugins' own business
"""
