"""Mark a picture file as edited by a generative model, in the words of the IPTC.

The digital source type stands in the file's XMP packet, where viewers, archives and platforms look for it;
a packet that the original had is kept.
https://cv.iptc.org/newscodes/digitalsourcetype/
"""

from __future__ import annotations

#: a photograph, parts of which a generative model has made
AI_EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_DESCRIPTION = (
    '<rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{AI_EDITED}"/>'
)
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f"{_DESCRIPTION}</rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)


def mark(xmp: bytes | None = None) -> bytes:
    """An XMP packet with the digital source type; ``xmp`` is the one that the original came with."""
    if not xmp:
        return _PACKET.encode()
    text = xmp.decode("utf-8", "replace").rstrip("\0")
    head, end, tail = text.rpartition("</rdf:RDF>")
    if not end or "xmlns:rdf=" not in head:  # no packet that can be added to
        return _PACKET.encode()
    return f"{head}{_DESCRIPTION}{end}{tail}".encode()
