/*
 * A small program with one planted bug, for `forkyard fuzz` (README, "Fuzzing").
 *
 * It prints the links in a file of records:
 *
 *     "FYRD"  { kind, length, length bytes of data, checksum } ...
 *
 * The checksum is the sum of the data modulo 256. A record of kind 'X' whose data begins with the magic value "LINK"
 * holds the name of a link; all others are passed over. The name is copied into 8 bytes, however long it is: it runs
 * over the pointer behind it, which is then followed.
 */
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 4096, NAME_SIZE = 8 };

struct link {
	char name[NAME_SIZE];
	const char *target;
};

static int starts_with(const unsigned char *data, size_t size, const char *magic)
{
	for (; *magic; magic++, data++, size--)
		if (size == 0 || *data != (unsigned char)*magic)
			return 0;
	return 1;
}

static int checksum_is_right(const unsigned char *data, size_t length)
{
	unsigned char sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += data[i];
	return sum == data[length];
}

__attribute__((noinline)) static struct link *new_link(void)
{
	struct link *link = malloc(sizeof *link);

	if (!link)
		exit(1);
	link->target = "nowhere";
	return link;
}

__attribute__((noinline)) static void follow(const struct link *link)
{
	printf("link %.8s to %c...\n", link->name, *link->target);
}

static void show_link(const unsigned char *name, size_t length)
{
	struct link *link = new_link();

	for (size_t i = 0; i < length; i++)
		link->name[i] = (char)name[i]; /* the bug: no look at NAME_SIZE */
	follow(link);
	free(link);
}

static void show_record(int kind, const unsigned char *data, size_t length)
{
	if (kind == 'X' && starts_with(data, length, "LINK") && checksum_is_right(data, length))
		show_link(data + 4, length - 4);
}

int main(int argc, char **argv)
{
	static unsigned char bytes[MAX_FILE];
	FILE *file = argc > 1 ? fopen(argv[1], "rb") : stdin;
	size_t size, at = 4;

	if (!file) {
		perror(argv[1]);
		return 1;
	}
	size = fread(bytes, 1, sizeof bytes, file);
	if (!starts_with(bytes, size, "FYRD")) {
		fprintf(stderr, "not a file of records\n");
		return 1;
	}
	while (at + 3 <= size) {
		size_t length = bytes[at + 1];

		if (at + 3 + length > size)
			break;
		show_record(bytes[at], bytes + at + 2, length);
		at += 3 + length;
	}
	return 0;
}
