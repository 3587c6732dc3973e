"""LAYER 3: the FIFOs between plugins (reedcms-10.md#messages).

mesh    creates, holds and watches them; the core never reads or writes a message
links   hard links to them in folders that sandboxes grant
"""
