"""LAYER 3: the FIFOs between plugins (reedcms-10.md#messages).

mesh    makes, holds and watches them; what travels on them is the plugins' own business
links   a second name of each, in folders that sandboxes grant
"""
