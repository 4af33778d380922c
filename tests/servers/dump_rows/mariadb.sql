-- What MariaDB has beyond the common types: compressed columns and events, INET6, the temporal
-- formats before 10.1, full metadata.
CREATE TABLE mc(id INT PRIMARY KEY, j JSON, bc BLOB COMPRESSED, tc TEXT COMPRESSED, mtc MEDIUMTEXT COMPRESSED, vc VARCHAR(500) COMPRESSED, vs VARCHAR(100) COMPRESSED, vbc VARBINARY(300) COMPRESSED, i6 INET6);
INSERT INTO mc VALUES (1,'{"a": 1}',REPEAT('b',1000),REPEAT('t',1000),'short',REPEAT('v',400),'vs',REPEAT('x',250),'::1'),(2,NULL,'','','','','','',NULL),(3,'[]',NULL,NULL,NULL,NULL,NULL,NULL,'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),(4,'[]',NULL,NULL,NULL,NULL,NULL,NULL,'::ffff:1.2.3.4');
UPDATE mc SET tc='new';
UPDATE mc SET vc='n', bc=REPEAT('q',3000); DELETE FROM mc;
SET GLOBAL mysql56_temporal_format=OFF;
CREATE TABLE oldv(id INT PRIMARY KEY, d DATE, t TIME, dt DATETIME, ts TIMESTAMP NULL); INSERT INTO oldv VALUES (1,'2020-01-02','-12:34:56','2020-01-02 03:04:05','2020-01-02 03:04:05'),(2,0,0,0,0),(3,NULL,'838:59:59','9999-12-31 23:59:59',NULL),(4,NULL,'-838:59:59','2000-00-00',NULL),(5,NULL,'-00:00:01','2000-00-00',NULL);
SET GLOBAL mysql56_temporal_format=ON;
SET GLOBAL log_bin_compress=ON, log_bin_compress_min_len=10;
INSERT INTO strs(id,tx) VALUES (100,REPEAT('c',1000)),(101,REPEAT('d',1000)); UPDATE strs SET tx=REPEAT('e',1000) WHERE id=100; DELETE FROM strs WHERE id=101;
SET binlog_row_image=MINIMAL; INSERT INTO nothing VALUES (); INSERT INTO nothing VALUES (),(); SET binlog_row_image=FULL;
SET GLOBAL log_bin_compress=OFF;
SET binlog_row_image=MINIMAL; CREATE TABLE inv(a INT DEFAULT 1 INVISIBLE, b INT DEFAULT 2 INVISIBLE, v INT DEFAULT 3); INSERT INTO inv VALUES (); INSERT INTO inv(a) VALUES (5); UPDATE inv SET b=9; DELETE FROM inv;
CREATE TABLE gen(a INT DEFAULT 1, v INT AS (a+1) VIRTUAL, s INT AS (a+2) STORED); INSERT INTO gen VALUES (); INSERT INTO gen(a) VALUES (4); UPDATE gen SET a=8; DELETE FROM gen; SET binlog_row_image=FULL; INSERT INTO gen VALUES (); INSERT INTO inv VALUES ();
SET GLOBAL binlog_row_metadata=FULL;
CREATE TABLE fm(id INT UNSIGNED PRIMARY KEY, e ENUM('a','b'), s SET('x','y'), c CHAR(3) CHARACTER SET latin1, g POINT, u BIGINT UNSIGNED, v VARCHAR(10) COLLATE utf8mb4_bin, y YEAR, n SMALLINT);
INSERT INTO fm VALUES(4294967295,'b','x,y','abc',ST_GeomFromText('POINT(1 2)'),18446744073709551615,'zz',2001,-1); DELETE FROM fm;
SET GLOBAL binlog_row_metadata=NO_LOG;
