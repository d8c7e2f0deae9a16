"""Upload a folder to the Hugging Face Hub in one commit; the repository is private unless `public` is set.

huggingface_hub finds the token of `hf auth login` or HF_TOKEN. No option takes it, and it never appears in a file, in
output or in an error.

    push(Path("out/to-share"), "someone/emotions", "model")
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emocaliber import __version__
from emocaliber.core.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset", "space"]
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def signed_in(repo: str) -> HfApi:
    """An authenticated Hub client; call it before doing the work that is to be uploaded.

    Raises UserError if `repo` is not OWNER/NAME or no token is found.
    """
    if not _NAME.fullmatch(repo):
        raise UserError(f"--push {repo}: give the repository as OWNER/NAME")
    try:
        from huggingface_hub import HfApi, get_token
    except ModuleNotFoundError:
        raise UserError("--push needs huggingface_hub: pip install 'emocaliber[train]'") from None
    if get_token() is None:
        raise UserError("--push: nobody is signed in; run `hf auth login`, or set HF_TOKEN to a token that may write")
    return HfApi(library_name="emocaliber", library_version=__version__)


def push(folder: Path, repo: str, kind: Kind, *, public: bool = False) -> str:
    """Create the repository if needed, upload all files of `folder` (replacing those of the same name), and return its
    URL. Raises UserError if the Hub refuses, or if the repository is public and `public` is False.
    """
    hub = signed_in(repo)
    try:
        hub.create_repo(
            repo, repo_type=kind, private=not public, exist_ok=True, space_sdk="docker" if kind == "space" else None
        )
        if not public and not hub.repo_info(repo, repo_type=kind).private:
            raise UserError(f"--push {repo}: this repository is public; give --public to upload to it")
        hub.upload_folder(
            folder_path=folder, repo_id=repo, repo_type=kind, commit_message=f"Written by emocaliber {__version__}"
        )
    except UserError:
        raise
    except Exception as error:  # the errors of its HTTP layer share no base class
        raise UserError(f"--push {repo}: {_without_token(error)}") from None
    return f"{hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo}"


def _without_token(error: Exception) -> str:
    from huggingface_hub import get_token

    return " ".join(str(error).split()).replace(get_token() or "\0", "…")[:400]
