"""Content to move, its .torrent, and proof that it arrived. Standard library only."""
import hashlib
import os

CHUNK = 1 << 20
HASHES = {}  # torrents of one process that were hashed already


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l%se" % b"".join(map(bencode, value))
    items = sorted((key.encode(), item) for key, item in value.items())
    return b"d%se" % b"".join(bencode(key) + bencode(item) for key, item in items)


class Content:
    """`count` files of `size` random bytes each, made once below `base`; one file lies there by itself."""

    def __init__(self, base, size, count=1):
        self.size, self.count = size * count, count
        self.dir = os.path.join(base, "content-%d-%d" % (count, size))
        self.name = "%d-%d" % (count, size) + (".bin" if count == 1 else "")
        self.root = os.path.join(self.dir, self.name)
        # Relative paths in byte order, as they stand in the torrent.
        self.files = [()] if count == 1 else [
            ("d%03d" % (i // 100), "f%05d.dat" % i) for i in range(count)]
        if not os.path.exists(self.root):
            for path in self.files:
                full = os.path.join(self.root, *path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                fill(full, size)
        self.each = size

    def chunks(self, root):
        for path in self.files:
            with open(os.path.join(root, *path), "rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    yield chunk

    def digest(self, root):
        """SHA-256 over all files, those below `root` instead of our own."""
        digest = hashlib.sha256()
        for chunk in self.chunks(root):
            digest.update(chunk)
        return digest.digest()

    def proves(self, folder):
        """Whether `folder` holds a true copy."""
        if not hasattr(self, "want"):
            self.want = self.digest(self.root)
        root = os.path.join(folder, self.name)
        sizes_fit = all(
            os.path.getsize(os.path.join(root, *path)) == self.each for path in self.files)
        return sizes_fit and self.digest(root) == self.want


def fill(path, size):
    with open(path, "wb") as file:
        for at in range(0, size, CHUNK):
            file.write(os.urandom(min(CHUNK, size - at)))


class Torrent:
    """A .torrent of some content, cut into pieces of `piece` bytes."""

    def __init__(self, content, piece, announce=None):
        self.content, self.piece = content, piece
        self.pieces = HASHES.get((content.dir, piece)) or hash_pieces(content, piece)
        HASHES[content.dir, piece] = self.pieces
        self.info = {"name": content.name, "piece length": piece, "pieces": self.pieces}
        if content.count == 1:
            self.info["length"] = content.size
        else:
            self.info["files"] = [
                {"length": content.each, "path": list(path)} for path in content.files]
        self.info_hash = hashlib.sha1(bencode(self.info)).digest()
        self.file = "%s-%d.torrent" % (content.dir, piece)
        whole = {"info": self.info}
        if announce:
            whole["announce"] = announce
        with open(self.file, "wb") as file:
            file.write(bencode(whole))


def hash_pieces(content, piece):
    pieces, rest = [], bytearray()
    for chunk in content.chunks(content.root):
        rest += chunk
        while len(rest) >= piece:
            pieces.append(hashlib.sha1(memoryview(rest)[:piece]).digest())
            del rest[:piece]
    if rest:
        pieces.append(hashlib.sha1(rest).digest())
    return b"".join(pieces)
