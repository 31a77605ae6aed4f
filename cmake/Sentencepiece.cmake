# SentencePiece from its PyPI source archive, static: target t2v::sentencepiece.
add_library(t2v::sentencepiece INTERFACE IMPORTED)
