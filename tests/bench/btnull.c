/* A null BitTorrent peer: the wire protocol at full speed with no client around it.
 *
 *   btnull seed IP PORT INFOHASH FILE SIZE PIECE
 *       serves FILE from memory to any number of peers
 *   btnull leech IP PORT INFOHASH FILE SIZE PIECE HASHES MODE
 *       fetches it; MODE is discard, or full: hash, and write FILE
 *
 * It trusts whom it talks to: for measurements in a namespace, nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLK 16384u

/* The torrent: info hash, bytes, bytes of a piece, pieces; and at the seed its content. */
static uint8_t ih[20];
static uint64_t size;
static uint32_t plen, npieces;
static const uint8_t *map;

static void die(const char *m) {
    perror(m);
    exit(1);
}

static void hex(const char *s) {
    for (int i = 0; i < 20; i++) {
        unsigned v;
        sscanf(s + 2 * i, "%2x", &v);
        ih[i] = v;
    }
}

static uint32_t rd32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void wr32(uint8_t *p, uint32_t v) {
    p[0] = v >> 24;
    p[1] = v >> 16;
    p[2] = v >> 8;
    p[3] = v;
}

static int rdn(int fd, void *b, size_t n) {
    uint8_t *p = b;
    while (n) {
        ssize_t k = recv(fd, p, n, 0);
        if (k <= 0)
            return -1;
        p += k;
        n -= k;
    }
    return 0;
}

static int wrn(int fd, const void *b, size_t n) {
    const uint8_t *p = b;
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return -1;
        p += k;
        n -= k;
    }
    return 0;
}

static int wrv(int fd, struct iovec *v, int n) {
    while (n) {
        struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
        ssize_t k = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (k <= 0)
            return -1;
        while (n && (size_t)k >= v->iov_len) {
            k -= v->iov_len;
            v++;
            n--;
        }
        if (n) {
            v->iov_base = (char *)v->iov_base + k;
            v->iov_len -= k;
        }
    }
    return 0;
}

static int handshake(int fd, int first) {
    uint8_t h[68] = {19}, r[68];
    memcpy(h + 1, "BitTorrent protocol", 19);
    memcpy(h + 28, ih, 20);
    memcpy(h + 48, "-NU0001-", 8);
    for (int i = 56; i < 68; i++)
        h[i] = '0' + (rand() % 10);
    if (first && wrn(fd, h, 68))
        return -1;
    if (rdn(fd, r, 68))
        return -1;
    if (r[0] != 19 || memcmp(r + 28, ih, 20))
        return -1;
    if (!first && wrn(fd, h, 68))
        return -1;
    return 0;
}

/* The seed's side of one connection: answers all requests of one read with one call. */
static void *serve(void *arg) {
    int fd = (int)(intptr_t)arg, one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (handshake(fd, 0)) {
        close(fd);
        return 0;
    }
    size_t bl = (npieces + 7) / 8;
    uint8_t *bf = calloc(1, 5 + bl + 5);
    wr32(bf, 1 + bl);
    bf[4] = 5;
    for (uint32_t i = 0; i < npieces; i++)
        bf[5 + i / 8] |= 0x80 >> (i % 8);
    wr32(bf + 5 + bl, 1);
    bf[5 + bl + 4] = 1;
    if (wrn(fd, bf, 5 + bl + 5))
        goto out;

    enum { CAP = 1 << 18, MAXQ = 256 };

    uint8_t *b = malloc(CAP);
    size_t have = 0;
    static __thread struct iovec v[2 * MAXQ];
    static __thread uint8_t hd[MAXQ][13];
    for (;;) {
        ssize_t k = recv(fd, b + have, CAP - have, 0);
        if (k <= 0)
            break;
        have += k;
        size_t o = 0;
        int n = 0;
        while (have - o >= 4) {
            uint32_t l = rd32(b + o);
            if (have - o < 4 + (size_t)l)
                break;
            if (l == 13 && b[o + 4] == 6) {
                uint32_t pi = rd32(b + o + 5), be = rd32(b + o + 9), ln = rd32(b + o + 13);
                uint64_t off = (uint64_t)pi * plen + be;
                if (off + ln > size || ln > (1 << 17))
                    goto done;
                uint8_t *h = hd[n];
                wr32(h, 9 + ln);
                h[4] = 7;
                wr32(h + 5, pi);
                wr32(h + 9, be);
                v[2 * n] = (struct iovec){h, 13};
                v[2 * n + 1] = (struct iovec){(void *)(map + off), ln};
                if (++n == MAXQ) {
                    if (wrv(fd, v, 2 * n))
                        goto done;
                    n = 0;
                }
            }
            o += 4 + l;
        }
        if (n && wrv(fd, v, 2 * n))
            break;
        memmove(b, b + o, have - o);
        have -= o;
    }
done:
    free(b);
out:
    free(bf);
    close(fd);
    return 0;
}

/* The leech: one thread receives into piece buffers, another hashes and writes them. */
enum { NBUF = 16 };

static uint8_t *bufs[NBUF];
static int bufpiece[NBUF];
static uint32_t got[NBUF];
static int freeq[NBUF], nfree, workq[NBUF], nwork;
static uint32_t finished, bad;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cw = PTHREAD_COND_INITIALIZER, cf = PTHREAD_COND_INITIALIZER;
static const uint8_t *hashes;
static int full, ofd = -1;

static uint32_t psize(uint32_t p) {
    uint64_t o = (uint64_t)p * plen;
    return size - o < plen ? size - o : plen;
}

static void *work(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&mu);
        while (!nwork)
            pthread_cond_wait(&cw, &mu);
        int s = workq[0];
        memmove(workq, workq + 1, --nwork * sizeof *workq);
        pthread_mutex_unlock(&mu);
        uint32_t p = bufpiece[s];
        int ok = 1;
        if (full) {
            uint8_t d[20];
            SHA1(bufs[s], psize(p), d);
            ok = !memcmp(d, hashes + 20 * p, 20);
        }
        if (full && pwrite(ofd, bufs[s], psize(p), (off_t)p * plen) != (ssize_t)psize(p))
            die("pwrite");
        pthread_mutex_lock(&mu);
        finished++;
        bad += !ok;
        bufpiece[s] = -1;
        freeq[nfree++] = s;
        pthread_cond_signal(&cf);
        pthread_mutex_unlock(&mu);
    }
    return 0;
}

static void seed(int fd, const struct sockaddr_in *at, const char *file) {
    int one = 1, f = open(file, O_RDONLY);
    if (f < 0)
        die(file);
    map = mmap(0, size, PROT_READ, MAP_SHARED | MAP_POPULATE, f, 0);
    if (map == MAP_FAILED)
        die("mmap");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const void *)at, sizeof *at) || listen(fd, 128))
        die("bind");
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int k = accept(fd, 0, 0);
        if (k < 0)
            continue;
        pthread_t t;
        pthread_create(&t, 0, serve, (void *)(intptr_t)k);
        pthread_detach(t);
    }
}

static int leech(int fd, const struct sockaddr_in *at, const char *file, const char *hash_file,
                 const char *mode) {
    int one = 1;
    full = !strcmp(mode, "full");
    int hf = open(hash_file, O_RDONLY);
    uint8_t *hb = malloc(20ul * npieces);
    if (read(hf, hb, 20ul * npieces) != 20l * npieces)
        die("hashes");
    hashes = hb;
    if (full) {
        ofd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (ofd < 0)
            die(file);
        if (ftruncate(ofd, size))
            die("ftruncate");
    }
    for (int i = 0; i < NBUF; i++) {
        bufs[i] = malloc(plen);
        bufpiece[i] = -1;
        freeq[nfree++] = i;
    }
    if (connect(fd, (const void *)at, sizeof *at))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (handshake(fd, 1))
        die("handshake");
    uint8_t in[5] = {0, 0, 0, 1, 2};
    wrn(fd, in, 5);
    pthread_t t;
    pthread_create(&t, 0, work, 0);
    uint32_t rp = 0, ro = 0;
    int rs = -1;
    int inflight = 0, choked = 1;

    enum { WIN = 192, LOW = 128 };

    uint8_t hd[13];
    size_t hn = 0;
    uint8_t rq[WIN * 17];
    uint64_t remaining = npieces;
    while (remaining) {
        if (!choked && inflight <= LOW) {
            int n = 0;
            while (inflight + n < WIN && rp < npieces) {
                if (rs < 0) {
                    pthread_mutex_lock(&mu);
                    while (!nfree && !(inflight + n))
                        pthread_cond_wait(&cf, &mu);
                    if (nfree) {
                        rs = freeq[--nfree];
                        bufpiece[rs] = rp;
                        got[rs] = 0;
                    }
                    pthread_mutex_unlock(&mu);
                    if (rs < 0)
                        break;
                }
                uint32_t ps = psize(rp), l = ps - ro < BLK ? ps - ro : BLK;
                uint8_t *q = rq + 17 * n++;
                wr32(q, 13);
                q[4] = 6;
                wr32(q + 5, rp);
                wr32(q + 9, ro);
                wr32(q + 13, l);
                ro += l;
                if (ro == ps) {
                    rp++;
                    ro = 0;
                    rs = -1;
                }
            }
            if (n && wrn(fd, rq, 17 * n))
                die("send");
            inflight += n;
        }
        size_t need = hn < 4 ? 4 : rd32(hd) == 0 ? 4 : hn < 5 ? 5 : hd[4] == 7 ? 13 : 5;
        if (hn < need) {
            ssize_t k = recv(fd, hd + hn, need - hn, 0);
            if (k <= 0)
                die("recv");
            hn += k;
            continue;
        }
        uint32_t l = rd32(hd);
        if (!l) {
            hn = 0;
            continue;
        }
        if (hd[4] == 7) {
            uint32_t p = rd32(hd + 5), o = rd32(hd + 9), n = l - 9;
            int s = -1;
            for (int i = 0; i < NBUF; i++)
                if (bufpiece[i] == (int)p)
                    s = i;
            if (s < 0 || o + n > plen) {
                fprintf(stderr, "unexpected block %u %u\n", p, o);
                return 1;
            }
            uint8_t *d = bufs[s] + o;
            uint32_t left = n;
            size_t hx = 0;
            while (left) { /* this payload and the next header in one call */
                struct iovec v[2] = {{d, left}, {hd, 13}};
                ssize_t k = readv(fd, v, inflight > 1 ? 2 : 1);
                if (k <= 0)
                    die("recv");
                if ((size_t)k >= left) {
                    hx = k - left;
                    left = 0;
                } else {
                    d += k;
                    left -= k;
                }
            }
            hn = hx;
            inflight--;
            got[s] += n;
            if (got[s] == psize(p)) {
                remaining--;
                pthread_mutex_lock(&mu);
                workq[nwork++] = s;
                pthread_cond_signal(&cw);
                pthread_mutex_unlock(&mu);
            }
            /* the 13 bytes over-read may hold short messages: taken apart here */
            while (hn >= 4) {
                uint32_t m = rd32(hd);
                if (!m) {
                    hn -= 4;
                    memmove(hd, hd + 4, hn);
                    continue;
                }
                if (hn < 5 || hd[4] == 7)
                    break;
                if (hn < 4 + m)
                    break;
                if (hd[4] == 0)
                    choked = 1;
                else if (hd[4] == 1)
                    choked = 0;
                hn -= 4 + m;
                memmove(hd, hd + 4 + m, hn);
            }
            continue;
        }
        /* any other message: skipped */
        uint8_t id = hd[4];
        uint8_t junk[65536];
        size_t gotb = hn - 4, left = l - gotb;
        while (left) {
            ssize_t k = recv(fd, junk, left < sizeof junk ? left : sizeof junk, 0);
            if (k <= 0)
                die("recv");
            left -= k;
        }
        if (id == 0)
            choked = 1;
        else if (id == 1)
            choked = 0;
        hn = 0;
    }
    pthread_mutex_lock(&mu);
    while (finished < npieces)
        pthread_cond_wait(&cf, &mu);
    pthread_mutex_unlock(&mu);
    printf("done bad=%u\n", bad);
    return bad ? 1 : 0;
}

int main(int c, char **a) {
    if (c < 8) {
        fprintf(stderr, "usage: see btnull.c\n");
        return 2;
    }
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(atoi(a[3]))};
    inet_pton(AF_INET, a[2], &sa.sin_addr);
    hex(a[4]);
    srand(getpid());
    size = strtoull(a[6], 0, 10);
    plen = atoi(a[7]);
    npieces = (size + plen - 1) / plen;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(a[1], "seed")) {
        seed(fd, &sa, a[5]);
        return 0;
    }
    return c < 10 ? 2 : leech(fd, &sa, a[5], a[8], a[9]);
}
