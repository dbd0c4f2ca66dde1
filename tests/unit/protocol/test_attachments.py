import msgspec
import pytest

from bobbin_protocol.attachments import AttachmentUploadDescriptor, FileAttachment, without_metadata


def test_clients_do_not_see_the_metadata_of_an_attachment() -> None:
    attachment = FileAttachment(id="atc_1", name="a.txt", mime_type="text/plain", metadata={"path": "/x"})
    assert without_metadata(attachment) == FileAttachment(id="atc_1", name="a.txt", mime_type="text/plain")
    assert attachment.metadata == {"path": "/x"}


@pytest.mark.parametrize("url", ["", "/upload", "upload", "http:", "http://a b", "http://a\n", "://a", "1:b"])
def test_only_absolute_urls_pass(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url, "method": "PUT"}, AttachmentUploadDescriptor)
