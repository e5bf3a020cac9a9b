"""Compiles the walks over an article's tree; where no C compiler is at hand, the package runs their Python instead."""

import lxml
from Cython.Build import cythonize
from setuptools import Extension, setup

TREE = Extension(
    "biomedica_kedro.jats._tree_compiled",
    ["src/biomedica_kedro/jats/_tree_compiled.pyx"],
    include_dirs=lxml.get_include(),
)

extensions = cythonize([TREE], build_dir="build")
for extension in extensions:
    extension.optional = True  # cythonize drops it

setup(ext_modules=extensions)
