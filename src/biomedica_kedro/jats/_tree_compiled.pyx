# cython: language_level=3, boundscheck=False, wraparound=False
"""The walks over an article's tree in C: see `_tree_python`, which defines what each returns.

The nodes of libxml2 are read where they stand, through lxml's C interface; nothing is changed, and an element of Python
is made only of what is handed out.
"""

cimport cython
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove, strcmp, strlen
from lxml.includes cimport etreepublic
from lxml.includes.etreepublic cimport _Document, _Element, elementFactory, import_lxml__etree
from lxml.includes.tree cimport XML_CDATA_SECTION_NODE, XML_ELEMENT_NODE, XML_TEXT_NODE, xmlAttr, xmlNode

from biomedica_kedro.jats import tags
from biomedica_kedro.jats._tree_python import latex_of

import_lxml__etree()

cdef extern from *:
    """
    #ifndef SOURCE_DIGEST
    #define SOURCE_DIGEST ""
    #endif
    """
    const char* _SOURCE_DIGEST "SOURCE_DIGEST"

SOURCE_DIGEST = _SOURCE_DIGEST.decode()

# What an element's name says of it.
cdef enum:
    IS_APART = 1
    IS_APART_FROM_PARAGRAPH = 2
    IS_BLOCK = 4
    IS_TEX = 8
    IS_MATH_BOX = 16
    IS_PARAGRAPH = 64
    IS_FLOAT = 128
    IS_XREF = 256
    IS_REF = 512
    IS_IDENTIFIER = 1024
    IS_WRITTEN_CITATION = 2048
    IS_CITATION_IN_PARTS = 4096
    IS_SCOPE = 8192
    IS_TEXT_SCOPE = 16384
    IS_SUB_ARTICLE = 32768
    IS_SUP = 65536
    IS_SUB = 131072
    HAS_SUP = 262144
    HAS_SUB = 524288
    IS_FRACTION = 1048576
    IS_TOLD_OTHERWISE = IS_APART | IS_APART_FROM_PARAGRAPH | IS_BLOCK | IS_TEX
    IS_SCRIPT = IS_SUP | IS_SUB | IS_XREF
    HAS_SCRIPTS = HAS_SUP | HAS_SUB | IS_FRACTION


cdef struct Name:
    const char* name
    int facts


cdef Name _plain[64]
cdef int _plain_from[257]  # where the names of each slot begin
cdef Name _of_math[24]
cdef int _n_of_math = 0
cdef bytes _MATHML = tags.MATHML.strip("{}").encode()
cdef const char* _mathml = _MATHML
cdef bytes _XLINK = tags.XLINK_HREF[1:].partition("}")[0].encode()
cdef const char* _xlink = _XLINK
_kept = []  # the bytes that the tables point into


cdef inline int slot_of(const char* name) noexcept:
    return (7 * <unsigned char> name[0] + <unsigned char> name[1]) & 255


def _fill_tables():
    global _n_of_math
    facts = {}
    for fact, names in (
        (IS_APART, tags.APART), (IS_APART_FROM_PARAGRAPH, tags.APART_FROM_PARAGRAPH), (IS_BLOCK, tags.BLOCKS),
        (IS_TEX, {tags.TEX}), (IS_MATH_BOX, tags.MATH_BOXES), (IS_PARAGRAPH, {"p"}),
        (HAS_SUP, {name for name, marks in tags.MATH_SCRIPTS.items() if "^" in marks}),
        (HAS_SUB, {name for name, marks in tags.MATH_SCRIPTS.items() if "_" in marks}),
        (IS_FRACTION, {name for name, marks in tags.MATH_SCRIPTS.items() if "/" in marks}),
        *((fact, {name for name, mark in tags.SCRIPTS.items() if mark == height}) for fact, height in (
            (IS_SUP, "^"), (IS_SUB, "_"),
        )),
        (IS_FLOAT, tags.FLOATS), (IS_XREF, {"xref"}), (IS_REF, {"ref"}), (IS_IDENTIFIER, tags.IDENTIFIERS),
        (IS_WRITTEN_CITATION, {tags.WRITTEN_CITATION}), (IS_CITATION_IN_PARTS, tags.CITATIONS_IN_PARTS),
        (IS_SCOPE, tags.SCOPES), (IS_TEXT_SCOPE, tags.TEXT_SCOPES),
        (IS_SUB_ARTICLE, tags.SUB_ARTICLES),
    ):
        for name in names:
            facts[name] = facts.get(name, 0) | fact
    names = sorted((name.encode() for name in facts if not name.startswith("{")), key=slot_of)
    of_math = [name for name in facts if name.startswith(tags.MATHML)]
    if len(names) > 64 or len(of_math) > 24 or len(names) + len(of_math) < len(facts):
        raise ValueError("the tables of names are too small, or a name has an unknown namespace")
    cdef int i, slot
    for i, name in enumerate(names):
        _kept.append(name)
        _plain[i].name, _plain[i].facts = name, facts[name.decode()]
    for slot in range(257):
        _plain_from[slot] = sum(slot_of(name) < slot for name in names)
    for name in of_math:
        local = name[len(tags.MATHML):].encode()
        _kept.append(local)
        _of_math[_n_of_math].name, _of_math[_n_of_math].facts = local, facts[name]
        _n_of_math += 1


_fill_tables()


cdef inline int facts_of(const xmlNode* node) noexcept:
    cdef const char* name = <const char*> node.name
    cdef int i, slot
    if node.ns == NULL:
        slot = slot_of(name)
        for i in range(_plain_from[slot], _plain_from[slot + 1]):
            if strcmp(name, _plain[i].name) == 0:
                return _plain[i].facts
    elif node.ns.href != NULL and strcmp(<const char*> node.ns.href, _mathml) == 0:
        for i in range(_n_of_math):
            if strcmp(name, _of_math[i].name) == 0:
                return _of_math[i].facts
    return 0


cdef inline bint is_text(const xmlNode* node) noexcept:
    return node.type == XML_TEXT_NODE or node.type == XML_CDATA_SECTION_NODE


cdef inline xmlNode* after(xmlNode* node, const xmlNode* top) noexcept:
    """The node that follows in document order within `top`; NULL at the end."""
    if node.type == XML_ELEMENT_NODE and node.children != NULL:
        return node.children
    while node != top:
        if node.next != NULL:
            return node.next
        node = node.parent
    return NULL


# What each byte of UTF-8 is written as, whether it is white space, and whether a wide space may begin with it.
cdef unsigned char _written[256]
cdef unsigned char _is_space[256]
cdef unsigned char _may_be_wide[256]
for _byte in range(256):
    _is_space[_byte] = bytes([_byte]).decode("latin-1").isspace() and _byte < 128
    _written[_byte] = 32 if _is_space[_byte] else _byte
    _may_be_wide[_byte] = _byte in b"\xc2\xe1\xe2\xe3"


cdef enum:
    RUN = 32


cdef inline int wide_space(const unsigned char* at) noexcept:
    """Length of the no-break, thin or other wide space here; 0 where there is none."""
    if at[0] == 0xC2:  # U+0085, U+00A0
        return 2 if at[1] == 0x85 or at[1] == 0xA0 else 0
    if at[0] == 0xE1:  # U+1680
        return 3 if at[1] == 0x9A and at[2] == 0x80 else 0
    if at[0] == 0xE3:  # U+3000
        return 3 if at[1] == 0x80 and at[2] == 0x80 else 0
    if at[1] == 0x81:  # U+205F
        return 3 if at[2] == 0x9F else 0
    # U+2000 to U+200A, U+2028, U+2029, U+202F
    return 3 if at[1] == 0x80 and (at[2] <= 0x8A or at[2] in (0xA8, 0xA9, 0xAF)) else 0


cdef inline bint is_written_as_it_is(const unsigned char* at, unsigned char after_space) noexcept:
    """Whether the `RUN` bytes here hold no white space but single spaces; a loop that compilers turn into vectors."""
    cdef unsigned char odd = after_space & (at[0] == 32)
    cdef int i
    for i in range(RUN):
        odd |= (at[i] < 32) | ((at[i] == 32) & (at[i + 1] <= 32)) | (at[i] == 0xC2) | ((at[i] >= 0xE1) & (at[i] <= 0xE3))
    return not odd


# The memory of the last text serves the next: thousands are read in an article.
cdef enum:
    MAX_SPARE = 1 << 20
cdef unsigned char* _spare = NULL
cdef size_t _spare_capacity = 0


@cython.final
cdef class Text:
    """A text that is put together, its runs of white space collapsed as they come."""

    cdef unsigned char* data
    cdef size_t length
    cdef size_t capacity
    cdef bint after_space

    def __cinit__(self):
        global _spare, _spare_capacity
        self.after_space = True
        self.data, self.capacity = _spare, _spare_capacity
        _spare, _spare_capacity = NULL, 0

    def __dealloc__(self):
        global _spare, _spare_capacity
        if _spare == NULL and self.capacity <= MAX_SPARE:
            _spare, _spare_capacity = self.data, self.capacity
        else:
            free(self.data)

    cdef int add(self, const unsigned char* piece, size_t length) except -1:
        cdef const unsigned char* end = piece + length
        cdef const unsigned char* stop
        cdef unsigned char* out
        cdef unsigned char* grown
        cdef unsigned char byte, is_space, after_space = self.after_space
        cdef int width
        cdef size_t wanted = self.length + length + 1
        if wanted > self.capacity:
            wanted = 2 * wanted + 256
            grown = <unsigned char*> realloc(self.data, wanted)
            if grown == NULL:
                raise MemoryError()
            self.data, self.capacity = grown, wanted
        out = self.data + self.length
        while piece < end:
            if end - piece >= RUN and is_written_as_it_is(piece, after_space):
                memcpy(out, piece, RUN)
                out += RUN
                piece += RUN
                after_space = (piece - 1)[0] == 32
                continue
            stop = piece + RUN if end - piece > RUN else end
            while piece < stop:
                byte = piece[0]
                width = wide_space(piece) if _may_be_wide[byte] else 0
                if width:
                    byte = 32
                    piece += width - 1
                # Without branches, which no processor can foretell: a space after a space is written over.
                is_space = _is_space[byte]
                out[0] = _written[byte]
                out += 1 - (is_space & after_space)
                after_space = is_space
                piece += 1
        self.after_space = after_space
        self.length = out - self.data
        return 0

    cdef int add_node(self, const xmlNode* node) except -1:
        if node.content != NULL:
            self.add(<const unsigned char*> node.content, strlen(<const char*> node.content))
        return 0

    cdef int add_space(self) except -1:
        return self.add(b" ", 1)

    cdef int add_all(self, xmlNode* element, bint spaced) except -1:
        """Everything that is written in an element, a space between any two pieces if asked for."""
        cdef xmlNode* node = after(element, element)
        while node != NULL:
            if is_text(node):
                self.add_node(node)
                if spaced:
                    self.add_space()
            node = after(node, element)
        return 0

    cdef int add_told(self, const xmlNode* element, int around, int apart, _Document document) except -1:
        """What a reader sees of an element, of which `around` is known, without the elements that are `apart`."""
        cdef xmlNode* node = element.children
        cdef int facts, place = 0
        cdef size_t start
        while node != NULL:
            if is_text(node):
                if not (around & IS_MATH_BOX and is_blank(node)):
                    self.add_node(node)
            elif node.type == XML_ELEMENT_NODE:
                facts = facts_of(node)
                start = self.length
                if facts & IS_TOLD_OTHERWISE:
                    self.add_otherwise(node, facts, apart, document)
                else:
                    self.add_told(node, facts, apart, document)
                if facts & IS_SCRIPT:
                    self.mark(start, mark_of(facts, around))
                    if self.ends_with_digit() and begins_with_digit(node.next):
                        self.add_space()
                elif around & HAS_SCRIPTS and place:
                    self.mark(start, mark_in_math(around, place))
                place += 1
            node = node.next
        return 0

    cdef int add_otherwise(self, xmlNode* node, int facts, int apart, _Document document) except -1:
        cdef Py_ssize_t length
        cdef const char* latex
        if facts & IS_TEX:
            text = latex_of(elementFactory(document, node))
            latex = PyUnicode_AsUTF8AndSize(text, &length)
            self.add(<const unsigned char*> latex, length)
        elif facts & apart:
            if facts & IS_BLOCK:
                self.add_space()
        elif facts & IS_BLOCK:
            self.add_space()
            self.add_told(node, facts, apart, document)
            self.add_space()
        else:
            self.add_told(node, facts, apart, document)
        return 0

    cdef inline bint ends_with_digit(self) noexcept:
        return self.length and is_digit(self.data[self.length - 1])

    cdef int mark(self, size_t start, unsigned char sign) except -1:
        """Put a sign before what was added since `start`, where `_tree_python._is_marked` says so."""
        cdef size_t length = self.length - start
        cdef unsigned char* content
        if not sign or not start or not length:
            return 0
        if sign == 47:
            if self.data[start - 1] == 32 or (length == 1 and self.data[start] == 32):
                return 0
        elif not is_digit(self.data[start - 1]) or not is_marked(self.data + start, length, sign):
            return 0
        self.add(b"0", 1)  # makes room
        content = self.data + start
        memmove(content + 1, content, length)
        content[0] = sign
        self.after_space = self.data[self.length - 1] == 32
        return 0

    cdef int count_figs(self) noexcept:
        """How often "fig" stands in it, in any case; a loop that compilers turn into vectors."""
        cdef const unsigned char* at = self.data
        cdef int count = 0
        cdef size_t i
        for i in range(2, self.length):
            count += ((at[i - 2] | 32) == 102) & ((at[i - 1] | 32) == 105) & ((at[i] | 32) == 103)
        return count

    cdef str cleaned(self):
        if self.length and self.after_space:
            self.length -= 1
        return PyUnicode_DecodeUTF8(<const char*> self.data, self.length, NULL) if self.length else ""


cdef inline bint is_digit(unsigned char byte) noexcept:
    return 48 <= byte <= 57


cdef bint begins_with_digit(const xmlNode* text) noexcept:
    while text != NULL and is_text(text):
        if text.content != NULL and text.content[0]:
            return is_digit((<const unsigned char*> text.content)[0])
        text = text.next
    return False


cdef bint is_blank(const xmlNode* text) noexcept:
    """Whether the text that this is a part of (CDATA sections are others) is white space alone."""
    cdef const unsigned char* at
    while text.prev != NULL and is_text(text.prev):
        text = text.prev
    while text != NULL and is_text(text):
        at = <const unsigned char*> text.content
        while at != NULL and at[0]:
            if at[0] != 32 and at[0] != 9 and at[0] != 10 and at[0] != 13:
                return False
            at += 1
        text = text.next
    return True


cdef inline unsigned char mark_of(int facts, int around) noexcept:
    return 32 if (facts | around) & IS_XREF else 94 if facts & IS_SUP else 95


cdef inline unsigned char mark_in_math(int around, int place) noexcept:
    if around & IS_FRACTION:
        return 47 if place == 1 else 0
    if around & HAS_SUB and place == 1:
        return 95
    return 94 if around & HAS_SUP and place == (2 if around & HAS_SUB else 1) else 0


cdef bint is_marked(const unsigned char* content, size_t length, unsigned char sign) noexcept:
    """Whether a numeral and this at another height are told apart by a sign."""
    cdef const unsigned char* end = content + length
    if is_digit(content[0]) or sign != 94:
        return is_digit(content[0])
    if content[0] == 43 or content[0] == 45:
        content += 1
    elif length >= 3 and content[0] == 0xE2 and (
        (content[1] == 0x80 and 0x90 <= content[2] <= 0x93) or (content[1] == 0x88 and content[2] == 0x92)
    ):
        content += 3
    elif content[0] in b"klmnNxyz":
        return length == 1 or not (is_digit(content[1]) or 97 <= content[1] | 32 <= 122)
    else:
        return is_greek(content[0])
    if content < end and content[0] == 32:
        content += 1
    return content < end and (is_digit(content[0]) or 97 <= content[0] | 32 <= 122 or is_greek(content[0]))


cdef inline bint is_greek(unsigned char first) noexcept:
    """Whether a character's first byte is that of U+0380 to U+03FF."""
    return first == 0xCE or first == 0xCF


cdef str plain(xmlNode* element):
    cdef Text text = Text.__new__(Text)
    text.add_all(element, False)
    return text.cleaned()


def plain_text(_Element element):
    return "" if element is None else plain(element._c_node)


def children_by_tag(_Element element not None):
    cdef xmlNode* child = element._c_node.children
    cdef dict children = {}
    cdef list same
    while child != NULL:
        if child.type == XML_ELEMENT_NODE:
            tag = etreepublic.namespacedName(child)
            same = children.get(tag)
            if same is None:
                children[tag] = same = []
            same.append(elementFactory(element._doc, child))
        child = child.next
    return children


def texts_by_tag(_Element element not None):
    cdef xmlNode* child = element._c_node.children
    texts = {}
    while child != NULL:
        if child.type == XML_ELEMENT_NODE:
            texts[etreepublic.namespacedName(child)] = plain(child)
        child = child.next
    return texts


def text_of(_Element element):
    if element is None:
        return ""
    cdef Text text = Text.__new__(Text)
    text.add_told(element._c_node, facts_of(element._c_node), IS_APART, element._doc)
    return text.cleaned()


cdef inline str decoded(const xmlNode* text):
    cdef const char* content = <const char*> text.content
    return "" if content == NULL else PyUnicode_DecodeUTF8(content, strlen(content), NULL)


cdef str attribute(xmlNode* node, const char* name, const char* namespace):
    """Value of an attribute, None when there is none."""
    cdef xmlAttr* entry = node.properties
    while entry != NULL:
        if strcmp(<const char*> entry.name, name) == 0 and (
            entry.ns == NULL if namespace == NULL
            else entry.ns != NULL and entry.ns.href != NULL and strcmp(<const char*> entry.ns.href, namespace) == 0
        ):
            if entry.children == NULL:
                return ""
            if entry.children.next == NULL and entry.children.type == XML_TEXT_NODE:
                return decoded(entry.children)
            return etreepublic.attributeValue(node, entry)  # entities in it
        entry = entry.next
    if node.doc != NULL and node.doc.intSubset != NULL and node.doc.intSubset.attributes != NULL:  # with a default
        return etreepublic.attributeValueFromNsName(node, <const unsigned char*> namespace, <const unsigned char*> name)
    return None


cdef str leading_text(xmlNode* element):
    """Text of an element before its first child."""
    cdef xmlNode* node = element.children
    if node == NULL or not is_text(node):
        return ""
    text = decoded(node)
    while node.next != NULL and is_text(node.next):
        node = node.next
        text += decoded(node)
    return text


cdef tuple cited_work(xmlNode* ref):
    cdef xmlNode* node = after(ref, ref)
    cdef int facts
    cdef str text, pmid = None
    cdef list with_doi = []
    while node != NULL:
        if node.type == XML_ELEMENT_NODE:
            facts = facts_of(node)
            if facts & IS_REF:
                break
            if facts & IS_IDENTIFIER:
                if (attribute(node, "pub-id-type", NULL) or attribute(node, "ext-link-type", NULL)) == "pmid":
                    pmid = pmid or leading_text(node).strip() or None
                else:
                    text = leading_text(node)
                    if "10." in text:
                        with_doi.append(text)
                    text = attribute(node, "href", _xlink)
                    if text is not None and "10." in text:
                        with_doi.append(text)
        node = after(node, ref)
    return attribute(ref, "id", NULL), pmid, with_doi, citation(ref)


cdef str citation(xmlNode* ref):
    cdef xmlNode* child = ref.children
    cdef int facts
    cdef Text text
    while child != NULL:
        if child.type == XML_ELEMENT_NODE:
            facts = facts_of(child)
            if facts & IS_WRITTEN_CITATION:
                return plain(child)
            if facts & IS_CITATION_IN_PARTS:
                text = Text.__new__(Text)
                text.add_all(child, True)
                return text.cleaned()
        child = child.next
    return plain(ref)


cdef struct Kept:
    xmlNode* node
    int scope  # around it
    int paragraph  # around it, -1 where there is none


cdef struct Nodes:
    Kept* kept
    int length
    int capacity


cdef int keep(Nodes* nodes, xmlNode* node, int scope, int paragraph) except -1:
    cdef Kept* grown
    cdef int wanted = 2 * nodes.capacity + 64
    if nodes.length == nodes.capacity:
        grown = <Kept*> realloc(nodes.kept, wanted * sizeof(Kept))
        if grown == NULL:
            raise MemoryError()
        nodes.kept, nodes.capacity = grown, wanted
    nodes.kept[nodes.length] = Kept(node, scope, paragraph)
    nodes.length += 1
    return 0


@cython.final
cdef class Walk:
    cdef readonly list floats
    cdef readonly list text_paragraphs
    cdef readonly list cited_works
    cdef _Element root  # holds the tree that the nodes are of
    cdef Nodes scopes
    cdef Nodes texts
    cdef Nodes links

    def __init__(self, _Element root not None):
        cdef xmlNode* top = root._c_node
        cdef xmlNode* node = top
        cdef int facts, scope = 0, paragraph = -1
        cdef Text text
        self.root = root
        self.floats = []
        self.text_paragraphs = []
        self.cited_works = []
        keep(&self.scopes, top, 0, -1)
        while True:
            if node.type == XML_ELEMENT_NODE:
                facts = facts_of(node)
                if facts & IS_SCOPE and node != top:
                    keep(&self.scopes, node, scope, paragraph)
                    scope = self.scopes.length - 1
                if facts & IS_PARAGRAPH:
                    keep(&self.texts, node, scope, paragraph)
                    paragraph = self.texts.length - 1
                    if not scope or facts_of(self.scopes.kept[scope].node) & IS_TEXT_SCOPE:
                        text = self.told(paragraph)  # now that it is at hand, as are the cited works
                        self.text_paragraphs.append((paragraph, scope, text.cleaned(), text.count_figs()))
                elif facts & IS_FLOAT:
                    self.floats.append((elementFactory(root._doc, node), scope))
                elif facts & IS_XREF:
                    keep(&self.links, node, scope, paragraph)
                elif facts & IS_REF:
                    self.cited_works.append(cited_work(node))
                if node.children != NULL:
                    node = node.children
                    continue
            while True:
                if node == top:
                    return
                if scope and node == self.scopes.kept[scope].node:
                    scope = self.scopes.kept[scope].scope
                if paragraph >= 0 and node == self.texts.kept[paragraph].node:
                    paragraph = self.texts.kept[paragraph].paragraph
                if node.next != NULL:
                    node = node.next
                    break
                node = node.parent

    def __dealloc__(self):
        free(self.scopes.kept)
        free(self.texts.kept)
        free(self.links.kept)

    @property
    def outer(self):
        cdef int i
        return [self.scopes.kept[i].scope for i in range(self.scopes.length)]

    @property
    def sub_articles(self):
        cdef int i
        return [i for i in range(self.scopes.length) if facts_of(self.scopes.kept[i].node) & IS_SUB_ARTICLE]

    def scope(self, unsigned int index):
        if index >= <unsigned int> self.scopes.length:
            raise IndexError(index)
        return elementFactory(self.root._doc, self.scopes.kept[index].node)

    def paragraph_text(self, unsigned int index):
        if index >= <unsigned int> self.texts.length:
            raise IndexError(index)
        return self.told(index).cleaned()

    cdef Text told(self, int index):
        cdef Text text = Text.__new__(Text)
        text.add_told(self.texts.kept[index].node, IS_PARAGRAPH, IS_APART_FROM_PARAGRAPH, self.root._doc)
        return text

    def xrefs(self, rids, ref_types):
        cdef int i
        cdef Kept link
        found = []
        for i in range(self.links.length):
            link = self.links.kept[i]
            rid = attribute(link.node, "rid", NULL) or ""
            if rid in rids or " " in rid or (attribute(link.node, "ref-type", NULL) or "") in ref_types:
                element = elementFactory(self.root._doc, link.node)
                paragraph = None if link.paragraph < 0 else link.paragraph
                found.append((element, rid, plain(link.node), link.scope, paragraph))
        return found

