"""Drives libtorrent in its own process. argv[1]: its job as JSON; answers: JSON lines; commands: `go`, `sent` and `quit`."""
import json
import os
import select
import socket
import sys
import time

import libtorrent as lt

job = json.loads(sys.argv[1])
# As it comes, but alone: nobody is found except by the tracker.
settings = dict(
    enable_dht=False, enable_lsd=False, enable_upnp=False, enable_natpmp=False,
    enable_incoming_utp=False, enable_outgoing_utp=False, allow_multiple_connections_per_ip=True,
    listen_interfaces="%s:%d" % (job["ip"], job["port"]), outgoing_interfaces=job["ip"],
    out_enc_policy=2, in_enc_policy=1,  # no encryption of its own accord
    alert_mask=lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
)
# The best that we found for it on fast links.
TUNED = dict(
    connections_limit=2000, connection_speed=500, torrent_connect_boost=255, unchoke_slots_limit=-1,
    max_out_request_queue=4000, max_allowed_in_request_queue=4000, request_queue_time=10,
    send_buffer_watermark=4 << 20, send_buffer_low_watermark=1 << 20, send_buffer_watermark_factor=150,
    recv_socket_buffer_size=2 << 20, send_socket_buffer_size=2 << 20, send_not_sent_low_watermark=1 << 20,
    max_peer_recv_buffer_size=8 << 20, max_queued_disk_bytes=128 << 20, hashing_threads=2, aio_threads=4,
    checking_mem_usage=2048, file_pool_size=500, mixed_mode_algorithm=0, close_redundant_connections=True,
    initial_picker_threshold=0, tick_interval=100, allowed_fast_set_size=0,
)
# On a long link sizes that are set keep the kernel from growing its buffers: those above cost half the rate there.
FAR = dict(recv_socket_buffer_size=0, send_socket_buffer_size=0, send_buffer_watermark=16 << 20)
if job["tuned"]:
    settings.update(TUNED)
if job["tuned"] == "far":
    settings.update(FAR)
known = lt.default_settings()
session = lt.session({key: value for key, value in settings.items() if key in known})


def say(**words):
    print(json.dumps(words), flush=True)


def add():
    for file in job["torrents"]:
        wanted = lt.add_torrent_params()
        wanted.ti, wanted.save_path = lt.torrent_info(file), job["dir"]
        wanted.storage_mode = lt.storage_mode_t.storage_mode_sparse
        wanted.flags = lt.torrent_flags.update_subscribe | lt.torrent_flags.apply_ip_filter
        if job["role"] == "seed":
            wanted.flags |= lt.torrent_flags.seed_mode
        torrent = session.add_torrent(wanted)
        if job["cap"]:
            torrent.set_upload_limit(job["cap"])
        for peer in job["peers"]:
            ip, _, port = peer.rpartition(":")
            torrent.connect_peer((ip, int(port)))
        yield torrent


# Rings when there are alerts. wait_for_alert hands out one that the session may move at that moment: a rare SIGSEGV.
bell, theirs = socket.socketpair()
session.set_alert_fd(theirs.fileno())
torrents, done, pause_s = [], False, 0.5
say(up=True)
while True:
    command = b""
    ready, _, _ = select.select([0, bell], [], [], pause_s)
    if bell in ready:
        bell.recv(4096)
    if 0 in ready:
        command = os.read(0, 4096) or b"quit"
    if b"go" in command:
        torrents, pause_s = list(add()), 0.02
    if b"sent" in command:
        say(uploaded=sum(torrent.status().total_payload_upload for torrent in torrents))
    if b"quit" in command:
        os._exit(0)  # what a leech holds was checked when it came
    if torrents and not done:
        for alert in session.pop_alerts():
            if alert.category() & lt.alert.category_t.error_notification:
                print(alert, file=sys.stderr, flush=True)
        if all(torrent.status().is_seeding for torrent in torrents):
            done, pause_s = True, 0.5
            say(done=True)
