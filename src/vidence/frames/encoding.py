"""How films are written so that equal frames give equal bytes."""

# x264's parameters. With its look-ahead it gives other bytes now and then, whatever the number of threads; a record
# names a movie's digest, and the same work must give the same record.
REPEATABLE_X264 = "threads=1:rc-lookahead=0:mbtree=0:weightp=0"
