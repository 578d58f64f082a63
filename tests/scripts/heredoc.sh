# Here-documents.
name=world
cat <<END
hello $name $(echo sub) $((6 * 7)) \$literal
END
cat <<'END'
no $name $(echo sub) \$
END
cat <<-END
	tabs are
		stripped
	END
cat <<A; cat <<B
first
A
second
B
while read line; do echo "got $line"; done <<END
1
2
END
cat <<END | tr a-z A-Z
in a pipe
END
f() { cat <<END
in a function $1
END
}
f x; f y
cat <<END
$(seq 1 2000)
END
wc -c <<END
$(seq 1 20000)
END
