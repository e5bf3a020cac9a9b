"""How XML from outside is parsed: nothing is fetched, no entity is expanded, sizes and depth keep libxml2's limits.

Well-formed XML is asked for first. What is malformed is repaired only where no element can be lost or moved by it
(`_HARMLESS`), and that is reported; all else is refused, for a guess at lost tags would give less than the file has.

Source: the security notes of lxml and libxml2; `huge_tree` would lift the limits of 10 MB a text node and 256 levels.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.entities import html5

from lxml import etree

from biomedica_kedro.records import DataError, RejectReason

MAX_BYTES = 64 << 20

_HOSTILE = re.compile(
    r"amplification|entity reference loop|excessive depth|maximum.*depth|nested too deep", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"huge|too long|resource limit", re.IGNORECASE)
_TRUNCATED = re.compile(r"premature end|no element found|document is empty|extra content at the end", re.IGNORECASE)
# What libxml2 may pass over: at worst a character that XML forbids goes, or the second of two equal attributes.
_HARMLESS = {
    "ERR_INVALID_CHAR",
    "ERR_ATTRIBUTE_REDEFINED",
    "ERR_HYPHEN_IN_COMMENT",
    "ERR_MISPLACED_CDATA_END",
    "ERR_NS_DECL_ERROR",
    "NS_ERR_UNDEFINED_NAMESPACE",
    "NS_ERR_ATTRIBUTE_REDEFINED",
    "NS_ERR_QNAME",
    "NS_ERR_COLON",
    "NS_ERR_EMPTY",
    "NS_ERR_XML_NAMESPACE",
    "WAR_NS_URI",
    "WAR_NS_URI_RELATIVE",
    "WAR_UNDECLARED_ENTITY",
    "ERR_UNDECLARED_ENTITY",
}
# Literal text, left as it is; an ampersand with the entity it may begin; a "<" before no name; references to characters
# that XML forbids.
_STRAY = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>"
    rb"|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));"
    rb"|&(?!#\d+;|#x[0-9a-fA-F]+;)(?:([A-Za-z][\w.-]*);)?|<(?![A-Za-z_:/!?\x80-\xff])",
    re.DOTALL | re.IGNORECASE,
)
_ENTITIES = "undefined character entities were replaced"
_STRAY_MARKUP = "stray < and & were read as text, forbidden characters left out"
_XML_ENTITIES = {b"amp", b"lt", b"gt", b"quot", b"apos"}

_ENCODING = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([\w.:-]+)")
# Read for what is declared, as browsers do (WHATWG Encoding Standard): publishers declare the standard and write the
# vendor's superset of it, on which libxml2 ends the text. Names are those of Python's codecs.
_SUPERSETS = {
    "ascii": ("utf-8", "cp1252"),
    "iso8859-1": ("cp1252",),
    "iso8859-9": ("cp1254",),
    "tis-620": ("cp874",),
    "iso8859-11": ("cp874",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "shift_jis": ("cp932",),
    "euc_jp": ("euc_jis_2004",),
    "euc_kr": ("cp949",),
    "big5": ("big5hkscs", "cp950"),
    **{name: (name,) for name in ("cp932", "cp949", "cp950")},
}
_ONE_BYTE = ("iso8859", "cp12", "koi8", "mac", "tis")
_UNDECLARED = re.compile(r"Namespace prefix (\S+) ")
_ROOT_NAME = re.compile(rb"<[A-Za-z_:\x80-\xff][^\s/>]*")

Find = Callable[[etree._Element], etree._Element]
"""Finds in a tree the element asked for; raises `DataError` where there is none."""


@dataclass(frozen=True, slots=True)
class Document:
    """XML, read.

    Attributes:
        root: the element asked for.
        recovered: whether malformed XML was repaired.
        warnings: what was done to read it.
    """

    root: etree._Element
    recovered: bool = False
    warnings: list[str] = field(default_factory=list)


def read_xml(xml: bytes, namespaces: Mapping[str, str], find: Find) -> Document:
    """Parse untrusted bytes and find an element in them.

    Args:
        xml: in any encoding, perhaps malformed.
        namespaces: what prefixes stand for that the file forgets to declare.
        find: finds the element in the tree.
    Raises:
        DataError: TOO_LARGE, HOSTILE_XML, MALFORMED_XML, or what `find` raises.
    """
    if len(xml) > MAX_BYTES:
        raise DataError(RejectReason.TOO_LARGE, f"the XML has {len(xml)} bytes, the limit is {MAX_BYTES}")
    xml = _in_utf8(xml)
    warnings: list[str] = []
    parser = _strict_parser()
    try:
        root, recovered = etree.fromstring(xml, parser), False
        is_clean = not len(parser.error_log)
    except etree.XMLSyntaxError as error:
        root, recovered = _repaired(xml, error, namespaces, find, warnings)
        is_clean = False
    _replace_entities(root, warnings, is_clean)
    found = find(root)
    if recovered:
        warnings.append("malformed XML was repaired")
    return Document(found, recovered, warnings)


def make_parser(*, recover: bool = False) -> etree.XMLParser:
    """A parser for untrusted bytes; comments and processing instructions are left out.

    Args:
        recover: repair malformed XML instead of refusing it; what was passed over is in the parser's `error_log`.
    """
    return etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True, recover=recover,
    )  # fmt: skip


_PARSERS = threading.local()


def _strict_parser() -> etree.XMLParser:
    """This thread's parser; one parser shared by threads would make them wait for each other."""
    parser: etree.XMLParser | None = getattr(_PARSERS, "strict", None)
    if parser is None:
        parser = _PARSERS.strict = make_parser()
    return parser


def _in_utf8(xml: bytes) -> bytes:
    """The file with its text in UTF-8, where it declares an encoding that is read as a larger one."""
    declared = _ENCODING.match(xml[:200].lstrip())
    if declared is None or declared[1].lower() == b"utf-8":
        return xml
    try:
        name = codecs.lookup(declared[1].decode()).name
    except LookupError:
        return xml
    # By chance no text of one byte a letter is UTF-8, too: the declaration is wrong then.
    for superset in (*(["utf-8"] if name.startswith(_ONE_BYTE) else []), *_SUPERSETS.get(name, ())):
        try:
            return xml.decode(superset).replace(declared[1].decode(), "utf-8", 1).encode()
        except UnicodeDecodeError:
            continue
    return xml


def _repaired(
    xml: bytes, error: etree.XMLSyntaxError, namespaces: Mapping[str, str], find: Find, warnings: list[str]
) -> tuple[etree._Element, bool]:
    """The root of a malformed file, and whether more than entities had to be mended."""
    n_nul = len(xml) - len(xml.rstrip(b"\0"))
    if n_nul and b"\0" not in xml[:4]:  # as those of UTF-16 would be
        warnings.append(f"{n_nul} NUL bytes after the end were left out")
        xml = xml[:-n_nul]
        try:
            return etree.fromstring(xml, make_parser()), False
        except etree.XMLSyntaxError as again:
            error = again
    _refuse(f"{error}, before {n_nul} NUL bytes at the end" if n_nul else str(error))
    stray: set[str] = set()
    mended = _STRAY.sub(lambda match: _as_text(match, stray), xml.lstrip())
    warnings.extend(sorted(stray))
    root, log = _recovered(mended, find)
    undeclared = {found[1] for entry in log if (found := _UNDECLARED.match(entry.message))}
    if undeclared:
        known = "".join(f' xmlns:{prefix}="{namespaces[prefix]}"' for prefix in undeclared & namespaces.keys())
        root, _ = _recovered(_ROOT_NAME.sub(lambda match: match[0] + known.encode(), mended, count=1), find)
        for element in root.iter(etree.Element):
            element.tag = element.tag.rpartition(":")[2] if element.tag[0] != "{" else element.tag
    return root, bool(log) or _STRAY_MARKUP in stray


def _recovered(xml: bytes, find: Find) -> tuple[etree._Element, list[etree._LogEntry]]:
    """The root that libxml2 makes of malformed XML, and what it passed over; it must be harmless."""
    parser = make_parser(recover=True)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        _refuse(str(error))
        raise DataError(RejectReason.MALFORMED_XML, str(error)) from error
    log = list(parser.error_log)
    for entry in log:
        _refuse(entry.message)
    harm = next((entry for entry in log if entry.type_name not in _HARMLESS), None)
    if root is None or harm is not None:
        if root is not None:
            find(root)  # else it is a page of HTML, of which nothing is lost
        raise DataError(
            RejectReason.MALFORMED_XML, f"line {harm.line}: {harm.message.strip()}" if harm else "no element"
        )
    return root, log


def _refuse(message: str) -> None:
    """Raise when the parser's message means that repair would be unsafe or would hide a loss."""
    if _HOSTILE.search(message):
        raise DataError(RejectReason.HOSTILE_XML, message)
    if _TOO_LARGE.search(message):
        raise DataError(RejectReason.TOO_LARGE, message)
    if _TRUNCATED.search(message):
        raise DataError(RejectReason.MALFORMED_XML, f"the file is cut off: {message}")


def _as_text(match: re.Match[bytes], stray: set[str]) -> bytes:
    """What is no markup, written so that it is none; `stray` takes the warnings."""
    found, name = match[0], match[1]
    if found.startswith(b"<!"):
        return found
    character = html5.get(f"{name.decode()};") if name else None
    if character is None:
        stray.add(_STRAY_MARKUP)
        return b"" if found.startswith(b"&#") else (b"&lt;" if found == b"<" else b"&amp;") + found[1:]
    if name not in _XML_ENTITIES:
        stray.add(_ENTITIES)
    # `&lt;` too: in attributes libxml2 drops it once it has met an error.
    return "".join(f"&#{ord(c)};" for c in character).encode()


def _replace_entities(root: etree._Element, warnings: list[str], is_clean: bool) -> None:
    """Put characters in the place of entity nodes, which text functions of libxml2 drop without a word.

    A file that the parser had nothing to say about has no undeclared entities.
    """
    document_type: etree.DTD | None = root.getroottree().docinfo.internalDTD
    if document_type is None:
        return  # without it an undefined entity is an error of syntax
    declared = {entity.name for entity in document_type.iterentities()}  # type: ignore[attr-defined]
    if is_clean and not declared:
        return
    entities = list(root.iter(etree.Entity))
    if not entities:
        return
    for entity in entities:
        name = (entity.text or "").strip("&;")
        if name in declared:
            raise DataError(RejectReason.HOSTILE_XML, f"the file declares and uses an entity of its own, {name!r}")
        _replace_by_text(entity, html5.get(f"{name};", f"&{name};"))
    warnings.append(_ENTITIES)


def _replace_by_text(node: etree._Element, text: str) -> None:
    text += node.tail or ""
    node.tail = None
    parent, previous = node.getparent(), node.getprevious()
    if parent is None:
        return
    if previous is not None:
        previous.tail = (previous.tail or "") + text
    else:
        parent.text = (parent.text or "") + text
    parent.remove(node)
