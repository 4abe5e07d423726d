/* libmodbus as it is meant to be used: receive, reply, for one connection at a time. Prints its port.
 * NODELAY is set for it: an accepted socket of the library has none, and pipelined answers then wait 40 ms for an ACK. */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    /* Port 0 is not known to this version of the library: listen ourselves and hand over the socket. */
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4) != 0) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);

    modbus_t *context = modbus_new_tcp("127.0.0.1", ntohs(address.sin_port));
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, 100, 0);
    if (!context || !mapping) return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int one = 1;
        if (modbus_tcp_accept(context, &listener) < 0) return 1;
        if (setsockopt(modbus_get_socket(context), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) return 1;
        for (;;) {
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            int length = modbus_receive(context, query);
            if (length < 0) break;
            if (length > 0 && modbus_reply(context, query, length, mapping) < 0) break;
        }
        modbus_close(context);
    }
}
