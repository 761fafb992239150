"""Where each picture lies in an export: its own name, a suffix that says what it holds, no name twice."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath, PurePosixPath
from urllib.parse import quote

from PIL import Image

#: suffixes that readers of picture folders know (torchvision's IMG_EXTENSIONS)
KNOWN = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: the suffix for each format of Pillow that has one of :data:`KNOWN`
SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp",
    "PPM": ".ppm",
}  # fmt: skip
#: bytes that a name may have on common file systems, less what makes it unique
_LONGEST = 200


def fitting_suffix(own: str, form: str) -> str:
    """A picture's own suffix where it names the format, else one that does."""
    known = Image.registered_extensions().get(own.lower())
    same = known == form or {known, form} == {"JPEG", "MPO"}
    return own if same else SUFFIXES.get(form, f".{form.lower()}")


def with_suffix(name: str, suffix: str) -> str:
    """A name with another suffix; what is no suffix of a picture stays."""
    path = PurePosixPath(name)
    picture = path.suffix.lower() in Image.registered_extensions()
    return str(path.with_suffix(suffix)) if picture else f"{name}{suffix}"


def relative(file: str) -> str:
    """A picture's name in its data set as a path that stays inside any folder."""
    name = posixpath.normpath(PurePath(file).as_posix())
    parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".")]
    return posixpath.join(*parts) if not name.startswith("/") else parts[-1]


def without(name: str, leading: Collection[str]) -> str:
    """A path less the leading folders that the export names itself."""
    parts = PurePosixPath(name).parts
    while len(parts) > 1 and parts[0] in leading:
        parts = parts[1:]
    return posixpath.join(*parts)


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder for each class, whose alphabetical order is that of the run.

    Readers number class folders alphabetically. Where the names themselves would be numbered otherwise, or
    cannot be folders, all of them begin with their number.
    """
    safe = [
        quote(name, safe=" !#$&'()+,;=@[]^_`{}~") if _awkward(name) else name for name in classes
    ]
    plain = safe == list(classes) and len({_key(name) for name in safe}) == len(safe)
    if plain and sorted(classes) == list(classes):
        return list(classes)
    digits = len(str(len(classes) - 1))
    return [
        f"{i:0{digits}d}-{_shortened(name)}".rstrip(". ") for i, name in enumerate(safe)
    ]  # fmt: skip


def _awkward(name: str) -> bool:
    """Whether some file system or reader would not keep a folder of this name."""
    return (
        name != name.strip(" .")
        or name.startswith(".")
        or any(c in '<>:"/\\|?*' or not c.isprintable() for c in name)
        or len(name.encode()) > _LONGEST
    )


def _shortened(name: str) -> str:
    return name.encode()[:_LONGEST].decode(errors="ignore")


def _key(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def unique(names: Sequence[str], ids: Sequence[str], first: Iterable[int], stem: bool) -> list[str]:
    """Names of which no two are the same on any file system; a taken one gets the picture's id.

    Those at the positions ``first`` keep theirs before the others. With ``stem`` no two may differ in
    nothing but their suffix.
    """
    early = list(first)
    taken: set[str] = set()
    out = list(names)
    for i in [*early, *sorted(set(range(len(names))) - set(early))]:
        path = PurePosixPath(names[i])
        for candidate in (path, path.with_name(f"{path.stem}-{ids[i]}{path.suffix}")):
            key = _key(str(candidate.with_suffix("") if stem else candidate))
            if key not in taken:
                break
        taken.add(key)
        out[i] = str(candidate)
    return out
