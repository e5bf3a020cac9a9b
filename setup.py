"""Compiles the walks over an article's tree; where no C compiler is at hand, the package runs their Python instead.

The source's digest is compiled in, so that `jats.tree` knows a build of another source and refuses it.
"""

import hashlib
from pathlib import Path

import lxml
from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCE = "src/biomedica_kedro/jats/_tree_compiled.pyx"
TREE = Extension(
    "biomedica_kedro.jats._tree_compiled",
    [SOURCE],
    include_dirs=lxml.get_include(),
    define_macros=[("SOURCE_DIGEST", f'"{hashlib.sha256(Path(SOURCE).read_bytes()).hexdigest()}"')],
)

extensions = cythonize([TREE], build_dir="build")
for extension in extensions:
    extension.optional = True  # cythonize drops it

setup(ext_modules=extensions)
