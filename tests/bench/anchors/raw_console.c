/* The device of the console rows: a new pty whose other end answers lines.
 *
 * usage: raw_console     (prints the path of the pty)
 *
 * `ping` is answered with `pong`, `flood` with 2.3 MB of log lines and then `login: `. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { FLOOD = 2300000 };
static const char LINE[] = "[    1.234567] some driver: probed device 17, login is not yet possible\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void say(int line, const char *text, size_t length) {
    while (length > 0) {
        ssize_t n = write(line, text, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("write");
        text += n, length -= (size_t)n;
    }
}

int main(void) {
    int line = posix_openpt(O_RDWR | O_NOCTTY);
    if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0) die("posix_openpt");
    /* Held open, so that the pty survives each client; raw, so that nothing is echoed before one opens it. */
    int held = open(ptsname(line), O_RDWR | O_NOCTTY);
    struct termios settings;
    if (held < 0 || tcgetattr(held, &settings) != 0) die("pty");
    cfmakeraw(&settings);
    if (tcsetattr(held, TCSANOW, &settings) != 0) die("tcsetattr");
    size_t length = sizeof LINE - 1, size = 0;
    char *flood = malloc(FLOOD + 16);
    if (flood == NULL) die("malloc");
    for (; size + length <= FLOOD; size += length) memcpy(flood + size, LINE, length);
    memcpy(flood + size, "login: ", 7), size += 7;
    printf("%s\n", ptsname(line));
    fflush(stdout);
    char in[256];
    for (size_t have = 0;;) {
        ssize_t n = read(line, in + have, sizeof in - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("read");
        have += (size_t)n;
        for (char *end; (end = memchr(in, '\n', have)) != NULL;) {
            if (in[0] == 'p') say(line, "pong\r\n", 6);
            else say(line, flood, size);
            size_t used = (size_t)(end + 1 - in);
            memmove(in, in + used, have - used);
            have -= used;
        }
        if (have == sizeof in) have = 0;
    }
}
