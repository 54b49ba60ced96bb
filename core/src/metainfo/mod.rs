//! What a .torrent file or a magnet link says.
