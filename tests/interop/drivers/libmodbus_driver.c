/* Drives libmodbus: TCP and RTU. One JSON request a line in, one JSON outcome a line out.
 *
 * The requests are those of the suite, whose keys and values hold nothing that needs more of JSON than this finds:
 * numbers, true and false, lists of them, texts without escapes. */
#include <errno.h>
#include <modbus/modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 2100

static modbus_t *client;
static double began;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* What follows a key, or NULL. */
static const char *value(const char *request, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *found = strstr(request, quoted);
    return found ? found + strlen(quoted) : NULL;
}

static double number(const char *request, const char *key, double otherwise) {
    const char *found = value(request, key);
    if (!found) return otherwise;
    if (!strncmp(found, "true", 4)) return 1;
    return strncmp(found, "false", 5) ? strtod(found, NULL) : 0;
}

static void text(const char *request, const char *key, char *into, size_t size) {
    const char *found = value(request, key);
    size_t length = 0;
    if (found && *found == '"')
        for (found++; found[length] && found[length] != '"' && length + 1 < size; length++) into[length] = found[length];
    into[length] = 0;
}

static int list(const char *request, const char *key, uint16_t *into) {
    const char *found = value(request, key);
    int count = 0;
    if (!found || *found != '[') return 0;
    for (found++; *found && *found != ']' && count < MOST; count++) {
        char *end = NULL;
        if (!strncmp(found, "true", 4) || !strncmp(found, "false", 5)) {
            into[count] = *found == 't';
            end = (char *)found + (*found == 't' ? 4 : 5);
        } else {
            into[count] = (uint16_t)strtol(found, &end, 10);
        }
        found = end + strspn(end, ", ");
    }
    return count;
}

/* The failed call: what libmodbus says by errno. */
static void failed(void) {
    int error = errno;
    const char *kind = "other";
    if (error >= EMBXILFUN && error <= EMBXGTAR) {
        printf("{\"error\": \"exception\", \"code\": %d, \"text\": \"%s\", \"took\": %f}\n", error - MODBUS_ENOBASE,
               modbus_strerror(error), now() - began);
        return;
    }
    if (error == ETIMEDOUT) kind = "timeout";
    else if (error == ECONNRESET || error == EPIPE || error == ENOTCONN || error == EBADF) kind = "lost";
    else if (error == ECONNREFUSED || error == EINVAL || error == EMBMDATA || error == ENOENT) kind = "refused";
    else if (error == EMBBADCRC || error == EMBBADDATA || error == EMBBADEXC || error == EMBUNKEXC || error == EMBBADSLAVE)
        kind = "malformed";
    printf("{\"error\": \"%s\", \"text\": \"%s\", \"took\": %f}\n", kind, modbus_strerror(error), now() - began);
}

static void done(int result) {
    if (result < 0) failed();
    else printf("{\"ok\": true, \"took\": %f}\n", now() - began);
}

static void values(int count, const uint16_t *words, const uint8_t *bits) {
    if (count < 0) {
        failed();
        return;
    }
    printf("{\"took\": %f, \"values\": [", now() - began);
    for (int index = 0; index < count; index++)
        printf("%s%d", index ? ", " : "", words ? words[index] : bits[index]);
    printf("]}\n");
}

static void close_client(void) {
    if (!client) return;
    modbus_close(client);
    modbus_free(client);
    client = NULL;
}

static void open_client(const char *request) {
    char url[256], host[128];
    int port, speed, bits, stop;
    char parity;
    close_client();
    text(request, "url", url, sizeof url);
    if (value(request, "echo") || value(request, "first_transaction")) {
        printf("{\"error\": \"unsupported\"}\n");
        return;
    }
    if (sscanf(url, "tcp://%127[^:]:%d", host, &port) == 2) {
        client = modbus_new_tcp(host, port);
    } else if (sscanf(url, "rtu://%127[^?]?line=%d+%d%c%d", host, &speed, &bits, &parity, &stop) == 5) {
        client = modbus_new_rtu(host, speed, parity, bits, stop);
    } else {
        printf("{\"error\": \"unsupported\", \"text\": \"no such carrier\"}\n");
        return;
    }
    double timeout = number(request, "timeout", 0.5);
    modbus_set_response_timeout(client, (uint32_t)timeout, (uint32_t)((timeout - (uint32_t)timeout) * 1e6));
    if (modbus_connect(client) < 0) {
        failed();
        close_client();
        return;
    }
    printf("{\"ok\": true, \"name\": \"libmodbus\"}\n");
}

static void act(const char *request) {
    static uint16_t words[MOST], given[MOST];
    static uint8_t bits[MOST];
    char call[64];
    text(request, "call", call, sizeof call);
    int address = (int)number(request, "address", 0), count = (int)number(request, "count", 0);
    if (!strcmp(call, "open")) { open_client(request); return; }
    if (!strcmp(call, "close")) { close_client(); printf("{\"ok\": true}\n"); return; }
    int length = list(request, "values", given);
    for (int index = 0; index < length; index++) bits[index] = given[index] != 0;
    if (!client || modbus_set_slave(client, (int)number(request, "unit", 1)) < 0) { failed(); return; }
    if (!strcmp(call, "read_coils")) values(modbus_read_bits(client, address, count, bits), NULL, bits);
    else if (!strcmp(call, "read_discrete_inputs")) values(modbus_read_input_bits(client, address, count, bits), NULL, bits);
    else if (!strcmp(call, "read_holding")) values(modbus_read_registers(client, address, count, words), words, NULL);
    else if (!strcmp(call, "read_input")) values(modbus_read_input_registers(client, address, count, words), words, NULL);
    else if (!strcmp(call, "write_coil")) done(modbus_write_bit(client, address, number(request, "value", 0) != 0));
    else if (!strcmp(call, "write_register"))
        done(modbus_write_register(client, address, (uint16_t)number(request, "value", 0)));
    else if (!strcmp(call, "write_coils")) done(modbus_write_bits(client, address, length, bits));
    else if (!strcmp(call, "write_registers")) done(modbus_write_registers(client, address, length, given));
    else if (!strcmp(call, "mask_write"))
        done(modbus_mask_write_register(client, address, (uint16_t)number(request, "and_mask", 0),
                                        (uint16_t)number(request, "or_mask", 0)));
    else if (!strcmp(call, "read_write_registers"))
        values(modbus_write_and_read_registers(client, (int)number(request, "write_address", 0), length, given,
                                               (int)number(request, "read_address", 0), count, words), words, NULL);
    else printf("{\"error\": \"unsupported\", \"text\": \"%s\"}\n", call);
}

int main(void) {
    static char request[65536];
    while (fgets(request, sizeof request, stdin)) {
        began = now();
        act(request);
        fflush(stdout);
    }
    close_client();
    return 0;
}
