"""Ask about a picture in the terminal or on a page, see how sure the model is and what else it could be.

emocaliber ask PICTURE ...
emocaliber chat
"""
