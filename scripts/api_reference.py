"""Write the reference of the public interface: a page for each module of `emocaliber.PUBLIC`, made by pdoc.

pip install -e '.[test]'
python scripts/api_reference.py --out out/api        # then open out/api/index.html
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from emocaliber import PUBLIC


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/api"), help="the folder (default: out/api)")
    write_pages(parser.parse_args().out)


def write_pages(out: Path) -> None:
    """A page for each public module in `out`, and an index."""
    import pdoc

    for name in PUBLIC:
        module = import_module(name)
        vars(module).update({public: getattr(module, public) for public in module.__all__})  # pdoc calls no __getattr__
    pdoc.render.configure(docformat="markdown", math=False, show_source=False)
    pdoc.pdoc(*PUBLIC, output_directory=out)


if __name__ == "__main__":
    main()
