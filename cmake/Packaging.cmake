# cmake --install: relocatable bin/, lib/, share/t2v/models, man page, shell completions.
